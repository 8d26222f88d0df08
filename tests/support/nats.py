"""A real NATS server on loopback, that a test can kill: Debian's package nats-server."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

import nats
import pytest
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from tests.support.server import until

Result = TypeVar("Result")

# Debian installs it outside of an ordinary user's PATH.
PROGRAM = shutil.which("nats-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_nats_server = pytest.mark.skipif(PROGRAM is None, reason="no nats-server: apt-get install nats-server")


class NatsServer:
    """A server with JetStream that stores in a directory. arguments: additional ones of the program."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        # Bound but not listening, it reserves the port for the server even while that is dead.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port: int = self._reserved.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        self._directory = directory
        self._arguments = ("-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(directory), *arguments)
        self.start()

    def start(self) -> None:
        """Start it, with the data that it has stored."""
        with (self._directory / "nats.log").open("ab") as log:
            self._process = subprocess.Popen([PROGRAM or "", *self._arguments], stderr=log)
        until(self._answers, "the NATS server answers")

    def _answers(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Kill it for good."""
        self.kill()
        self._reserved.close()

    def ask(self, question: Callable[[JetStreamContext], Awaitable[Result]]) -> Result:
        """Return the response of JetStream."""

        async def asked() -> Result:
            connection = await nats.connect(self.url, allow_reconnect=False)
            try:
                return await question(connection.jetstream())
            finally:
                await connection.close()

        return asyncio.run(asked())

    def has(self, count: int) -> None:
        """Wait until the stream has this number of messages."""
        until(lambda: self.size() >= count, f"{count} messages are in the stream")

    def size(self) -> int:
        """Return the number of messages of the stream."""

        async def size(jetstream: JetStreamContext) -> int:
            try:
                return (await jetstream.stream_info("TICKETS")).state.messages
            except NotFoundError:
                return 0

        return self.ask(size)

    def messages(self) -> dict[str, list[bytes]]:
        """Return the payloads of each client, in the order of the stream; the rest of each message must fit it."""

        async def messages(jetstream: JetStreamContext) -> list[RawStreamMsg]:
            state = (await jetstream.stream_info("TICKETS")).state
            found: list[RawStreamMsg] = []
            for sequence in range(state.first_seq, state.last_seq + 1):
                with contextlib.suppress(NotFoundError):  # if the stream was purged
                    found.append(await jetstream.get_msg("TICKETS", sequence))
            return found

        payloads: dict[str, list[bytes]] = defaultdict(list)
        for message in self.ask(messages):
            _, token, kind = (message.subject or "").split(".")
            payload, headers = message.data or b"", message.headers or {}
            payloads[unquote(token)].append(payload)
            event = json.loads(payload)
            assert event["type"] == kind
            assert headers["Nats-Msg-Id"] == f"{token}:{event['id']}"
            assert headers["Content-Type"] == "application/cloudevents+json"
        return dict(payloads)


@contextlib.contextmanager
def nats_server(directory: Path, *arguments: str) -> Iterator[NatsServer]:
    """Yield a running server; it is killed at the end."""
    server = NatsServer(directory, *arguments)
    try:
        yield server
    finally:
        server.close()
