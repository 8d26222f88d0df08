"""Real server processes on loopback, which a test can kill."""

import contextlib
import os
import signal
import socket
import ssl
import time
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg

from interface.composition.register import PERMISSIONS
from interface.outbound.keys.outbox_keys import OutboxKeyFile
from interface.outbound.keys.token_key import TokenKey
from interface.settings import PREFIX
from tests.support.process import start

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# For tests that count positions: a delivery is an event, too, at an unknown time.
NO_DELIVERY = {"TICKETS_DELIVER": "False"}
BASE = "/nevisidm/api/core/v1"
# A limit for hangs, not for speed: other work can use most of the machine.
PATIENCE_SECONDS = 120


class Server:
    """`tickets serve` as a separate process group, in a separate directory.

    module: the module that runs as the command line: interface.main, or a test module that wires it with a fault.
    """

    def __init__(
        self,
        directory: Path,
        database_url: str,
        *arguments: str,
        module: str = "interface.main",
        port: int = 0,
        **environment: str,
    ) -> None:
        # Bound but not listening, it reserves the port for the server until the end.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", port))
        self.port: int = self._reserved.getsockname()[1]
        self._name = f"server-{self.port}"
        self.directory = directory
        self.database_url = database_url
        self.log = directory / f"{self._name}.log"
        self._ended = False
        self.process = start(
            directory,
            ["serve", "--port", str(self.port), *arguments],
            out=self.log,
            err=self.log,
            settings={
                f"{PREFIX}DATABASE_URL": database_url,
                f"{PREFIX}MIGRATE_AT_START": "True",
                f"{PREFIX}RATE_LIMIT_PER_CALLER": "off",
                f"{PREFIX}RATE_LIMIT_PER_CREDENTIAL": "off",
                "PGAPPNAME": self._name,
                **environment,
            },
            module=module,
            # Workers start as they do for an operator.
            forked="--workers" not in arguments,
        )
        certificate = environment.get(f"{PREFIX}TLS_CERT_FILE")
        self.client = httpx.Client(
            base_url=f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}{BASE}",
            timeout=PATIENCE_SECONDS,
            trust_env=False,
            verify=ssl.create_default_context(cafile=certificate) if certificate else True,
        )
        try:
            until(self._answers, "the server answers")
            self.client.headers["Authorization"] = f"Bearer {_token(directory)}"
        except BaseException:
            self.kill()
            raise

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return self.client.get("/").status_code == 404
        return False

    def concurrent_client(self) -> httpx.AsyncClient:
        """Return a client that opens a connection for each concurrent request."""
        return httpx.AsyncClient(
            base_url=self.client.base_url,
            headers=self.client.headers,
            timeout=PATIENCE_SECONDS,
            trust_env=False,
            limits=httpx.Limits(max_connections=None),
        )

    def kill(self) -> None:
        """Kill every process of the server together, like a power cut.

        Returns when PostgreSQL has executed every statement that the server had sent.
        """
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Stop the server like a supervisor, and return its exit status."""
        try:
            if not self._ended:
                self.process.terminate()
                self.process.wait(PATIENCE_SECONDS)
        finally:
            self._end(signal.SIGKILL)
        return self.process.wait()

    def _end(self, last_signal: signal.Signals) -> None:
        # Once only: the number of a reaped group can be reused.
        if self._ended:
            return
        self._ended = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, last_signal)
        self.process.wait(PATIENCE_SECONDS)
        if self.database_url.startswith("postgres"):
            self._wait_for_its_sessions()
        self.client.close()
        self._reserved.close()

    def _wait_for_its_sessions(self) -> None:
        # A session executes and commits a received statement before it notices that its connection is closed.
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
        # If a test has stopped PostgreSQL, there are no sessions.
        with (
            contextlib.suppress(psycopg.OperationalError),
            psycopg.connect(self.database_url, autocommit=True, connect_timeout=3) as connection,
        ):
            until(
                lambda: connection.execute(sessions, (self._name,)).fetchone() == (0,),
                f"the sessions of {self._name} end",
            )


@contextlib.contextmanager
def serving(
    directory: Path,
    database_url: str,
    *arguments: str,
    module: str = "interface.main",
    **environment: Any,
) -> Iterator[Server]:
    """Yield a running server; it is killed at the end."""
    server = Server(directory, database_url, *arguments, module=module, **environment)
    try:
        yield server
    finally:
        server.kill()


def given_outbox_key(directory: Path) -> None:
    """Create the outbox key, without which no server starts on a store that a test has filled."""
    OutboxKeyFile(directory / "var" / "keys" / "outbox.key")()


def keys_of(directory: Path) -> dict[str, Any]:
    """Return the settings for using the keys of the servers in a directory."""
    keys = directory / "var" / "keys"
    return {
        "outbox_key_file": keys / "outbox.key",
        "token_key_file": keys / "token.pem",
        "ledger_key_dir": keys / "ledger",
        "set_key_file": keys / "set.pem",
    }


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until the condition holds. Raises AssertionError after the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def _token(directory: Path) -> str:
    key = TokenKey(directory / "var" / "keys" / "token.pem")
    return key.sign(
        subject="helpdesk",
        clients=["*"],
        permissions=PERMISSIONS,
        issuer="tickets",
        audience="tickets",
        now=datetime.now(UTC),
        lifetime=timedelta(hours=1),
    )
