"""Real server processes on loopback, that a test can kill."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from interface.http.permissions import PERMISSIONS
from interface.outbound.token_key import TokenKey
from interface.settings import PREFIX

ROOT = Path(__file__).parents[2]
BASE = "/nevisidm/api/core/v1"


class Server:
    """`tickets serve` as a process group of its own, in a directory of its own."""

    def __init__(self, directory: Path, database_url: str, *arguments: str, **environment: str) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]
        self.directory = directory
        self.log = (directory / f"server-{self.port}.log").open("wb")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        settings = {
            f"{PREFIX}DATABASE_URL": database_url,
            f"{PREFIX}RATE_LIMIT_PER_CALLER": "off",
            f"{PREFIX}RATE_LIMIT_PER_CREDENTIAL": "off",
            "PYTHONPATH": str(ROOT),
            **environment,
        }
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.support.crashing_server",
                "serve",
                "--port",
                str(self.port),
                *arguments,
            ],
            cwd=directory,
            env={**clean, **settings},
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}{BASE}", timeout=30, trust_env=False
        )
        until(self._answers, "the server answers")
        self.client.headers["Authorization"] = f"Bearer {_token(directory)}"

    def _answers(self) -> bool:
        assert self.process.poll() is None, Path(self.log.name).read_text()
        with contextlib.suppress(httpx.TransportError):
            return self.client.get("/").status_code == 404
        return False

    def kill(self) -> None:
        """Kill every process of the server at once, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self.client.close()
        self.log.close()


@contextlib.contextmanager
def serving(directory: Path, database_url: str, *arguments: str, **environment: str) -> Iterator[Server]:
    """Yield a running server; it is killed at the end."""
    server = Server(directory, database_url, *arguments, **environment)
    try:
        yield server
    finally:
        server.kill()


def until(condition: Callable[[], Any], what: str, seconds: float = 30) -> None:
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
