"""A receiver of webhooks on loopback with scripted responses, down to the bytes."""

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
HANGS = None


def answer(status: int, *headers: str, body: bytes = b"") -> bytes:
    """Return a response with its true length."""
    lines = [f"HTTP/1.1 {status} Reason", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Received:
    """A received request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def events(self) -> list[Any]:
        """The CloudEvents in it."""
        found = json.loads(self.body)
        return found if isinstance(found, list) else [found]

    @property
    def positions(self) -> list[int]:
        """Their positions."""
        return [int(event["id"]) for event in self.events]


@dataclass
class Receiver:
    """Receives requests; `behave` returns the response to one; HANGS: never any."""

    behave: Callable[[Received], bytes | None] = lambda _: OK
    port: int = 0
    tls: ssl.SSLContext | None = None
    received: list[Received] = field(default_factory=list)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def at(self, path: str) -> list[Received]:
        """Return the requests received at a path."""
        return [request for request in list(self.received) if request.path == path]

    def positions(self, path: str) -> list[int]:
        """Return the positions of all events received at a path, in order of arrival."""
        return [position for request in self.at(path) for position in request.positions]

    def url(self, path: str) -> str:
        """Return the URL of a path."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        if self.stopping.is_set():  # accepted before the stop, after `run` aborted the others
            writer.transport.abort()
            return
        self.writers.add(writer)
        with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            while await self._answered(reader, writer):
                pass
        writer.close()
        self.writers.discard(writer)

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("Content-Length", "0")))
        request = Received(head[0].split()[1], headers, body)
        reported = self.behave(request)
        self.received.append(request)
        if reported is HANGS:
            await reader.read()  # until the peer closes
            return False
        writer.write(reported)
        await writer.drain()
        return b"Connection: close" not in reported

    async def run(self, ready: threading.Event) -> None:
        """Serve until `stopping`."""
        self.loop, self.stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self.serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self.stopping.wait()
        # Closing comes last: Python 3.11 leaves a connection open that it accepts after the close.
        self.loop.remove_reader(server.sockets[0].fileno())
        for writer in list(self.writers):
            writer.transport.abort()
        # A task that accepts a connection starts the task that serves it: look until none is left.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        server.close()
        await server.wait_closed()

    def stop(self) -> None:
        """Close every connection."""
        self.loop.call_soon_threadsafe(self.stopping.set)


@contextmanager
def receiving(
    behave: Callable[[Received], bytes | None] = lambda _: OK,
    *,
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Receiver]:
    """Yield a receiver, on a separate thread."""
    receiver, ready = Receiver(behave, port, tls), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(receiver.run(ready)))
    thread.start()
    assert ready.wait(10)
    try:
        yield receiver
    finally:
        receiver.stop()
        thread.join(10)
