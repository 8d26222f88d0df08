"""A separate PostgreSQL server, which a test can stop, kill and start again."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from tests.support.disks import small_disk
from tests.support.postgres import server_from_the_wheel
from tests.support.server import until


class OwnPostgres:
    """The server; disk: the directory of its data."""

    def __init__(self, wheel: Any, disk: Path) -> None:
        self._wheel = wheel
        self.disk = disk
        self.url: str = wheel.get_uri()

    def new_database(self) -> str:
        """Return the URL of a new, empty database, which exists as long as the server."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS tickets WITH (FORCE)")
            connection.execute("CREATE DATABASE tickets")
        return self.url.replace("/postgres?", "/tickets?")

    def stop(self, how: str = "fast") -> None:
        """Stop the server, as an operator does; `immediate`: like a crash."""
        self._pg_ctl("-m", how, "stop")

    def start(self) -> None:
        """Start the server unless it runs, like a supervisor; it recovers by itself."""
        if not self._answers():
            options = f"-h '' -k {self._directory}"
            until(
                lambda: self._answers() or self._pg_ctl("-l", os.devnull, "-o", options, "start"),
                "PostgreSQL runs again",
            )
        until(self._answers, "PostgreSQL takes connections")

    def end_connections(self) -> int:
        """End every connection to the database, and return how many there were."""
        statement = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'tickets'"
        with psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute(statement).fetchone()
        return found[0] if found else 0

    def use_up_the_log(self) -> None:
        """Create new WAL segments until the disk has no space for another one."""
        with suppress(psycopg.Error), psycopg.connect(self.url, autocommit=True) as connection:
            while True:
                connection.execute("SELECT pg_logical_emit_message(false, 'test', repeat('x', 4000000))")

    @property
    def _directory(self) -> Path:
        return Path(self._wheel.pgdata)

    def _pg_ctl(self, *arguments: str) -> bool:
        done = subprocess.run(
            [str(self._wheel.bin_path / "pg_ctl"), "-w", "-D", str(self._directory), *arguments],
            check=False,
            user=self._wheel.system_user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return done.returncode == 0

    def _answers(self) -> bool:
        with suppress(psycopg.Error), psycopg.connect(self.url, connect_timeout=2):
            return True
        return False


@contextmanager
def own_postgres(megabytes: int | None = None) -> Iterator[OwnPostgres]:
    """Yield a running server, optionally on a small disk; it is removed at the end."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="tickets-postgres-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        if megabytes:
            stack.enter_context(small_disk(directory, megabytes))
        wheel = server_from_the_wheel(directory)
        own = OwnPostgres(wheel, directory)
        stack.callback(wheel.cleanup)
        stack.callback(own.stop, "immediate")
        yield own
