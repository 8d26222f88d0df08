"""A real PostgreSQL server and its streaming standby, both from the wheel."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.support.postgres import fresh_database, server_from_the_wheel
from tests.support.server import until

Run = Callable[..., None]


@dataclass
class Standby:
    """The standby, which a test can pause, kill and restart; primary_url: of its primary."""

    primary_url: str
    directory: Path
    run: Run

    @contextmanager
    def fresh_database(self) -> Iterator[tuple[str, str]]:
        """Yield the URLs of a new, empty database on both servers."""
        with fresh_database(self.primary_url) as url:
            self.catch_up()
            yield url, f"{url.partition('?')[0]}?host={self.directory}"

    def catch_up(self) -> None:
        """Wait until it has replayed all commits so far."""
        with psycopg.connect(self.primary_url) as primary, self._connection() as standby:
            place = primary.execute("SELECT pg_current_wal_lsn()::text").fetchone()
            has = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            until(lambda: standby.execute(has, place).fetchone() == (True,), "the standby has it")

    @contextmanager
    def replay_paused(self) -> Iterator[None]:
        """Let it receive the WAL without replaying it until the end."""
        with self._connection() as standby:
            standby.execute("SELECT pg_wal_replay_pause()")
            state = "SELECT pg_get_wal_replay_pause_state()"
            until(lambda: standby.execute(state).fetchone() == ("paused",), "the standby is paused")
            yield
            standby.execute("SELECT pg_wal_replay_resume()")

    def start(self) -> None:
        """Start it; it connects to the primary by itself."""
        # The primary's socket is in its data directory, so its lock is copied, too.
        (self.directory / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        options = ("-l", str(self.directory / "log"), "-o", f"-h '' -k {self.directory}")
        self.run("pg_ctl", "-w", "-D", str(self.directory), *options, "start")

    def kill(self) -> None:
        """Kill it if it runs, so that it must recover."""
        if self._answers():
            self.run("pg_ctl", "-w", "-D", str(self.directory), "-m", "immediate", "stop")

    def _answers(self) -> bool:
        try:
            self._connection().close()
        except psycopg.Error:
            return False
        return True

    def _connection(self) -> psycopg.Connection:
        return psycopg.connect(f"postgresql://postgres@/postgres?host={self.directory}", autocommit=True)


@contextmanager
def standing_by() -> Iterator[Standby]:
    """Yield a running standby; it and its primary are removed at the end."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="tickets-standby-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        primary = server_from_the_wheel(Path(tempfile.mkdtemp(dir=directory)))
        stack.callback(primary.cleanup)
        data = directory / "standby"
        data.mkdir(mode=0o700)
        if primary.system_user:
            shutil.chown(data, primary.system_user)

        def run(command: str, *arguments: str) -> None:
            program = str(primary.bin_path / command)
            subprocess.run(
                [program, *arguments], check=True, user=primary.system_user, stdout=subprocess.DEVNULL
            )

        copy = ("--pgdata", str(data), "--write-recovery-conf", "--checkpoint", "fast")
        run("pg_basebackup", "--dbname", primary.get_uri(), *copy)
        standby = Standby(primary.get_uri(), data, run)
        standby.start()
        stack.callback(standby.kill)
        yield standby
