"""The real command line as a process that a test can kill."""

import contextlib
import itertools
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.process import start
from tests.support.server import PATIENCE_SECONDS, until

_numbers = itertools.count()
_PLAIN = {"COLUMNS": "100", "NO_COLOR": "1"}


class Command:
    """`tickets` with these arguments, in a directory.

    out: the file, or FIFO, to which stdout is appended. err: the file with the stderr of this process only.
    module: runs as `tickets`, such as with a fault.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        output: str = "out",
        module: str = "interface.main",
        **settings: str,
    ) -> None:
        self.out = directory / output
        self.err = directory / f"err-{next(_numbers)}"
        settings = {**_PLAIN, **settings}
        self._process = start(
            directory, arguments, out=self.out, err=self.err, settings=settings, module=module
        )

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self._process.kill()
        self._process.wait()

    def stop_publishing(self) -> None:
        """Request a started publisher to stop, and assert that it exits with 0."""
        self.reported("publishing to")
        assert self.stop() == 0

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Request a stop, and return the exit status."""
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait until it ends by itself, and return its exit status."""
        return self._process.wait(PATIENCE_SECONDS)

    def reported(self, words: str) -> None:
        """Wait until stderr has this text."""
        until(lambda: self.err.exists() and words in " ".join(self.err.read_text().split()), words)


@contextlib.contextmanager
def command(directory: Path, *arguments: str, output: str = "out", **settings: str) -> Iterator[Command]:
    """Yield a running command; it is killed at the end."""
    running = Command(directory, *arguments, output=output, **settings)
    try:
        yield running
    finally:
        running.kill()


def tickets(directory: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end, as its user would."""
    number = next(_numbers)
    out, err = directory / f".out-{number}", directory / f".err-{number}"
    running = start(directory, arguments, out=out, err=err, settings={**_PLAIN, **settings})
    try:
        return subprocess.CompletedProcess(
            arguments, running.wait(PATIENCE_SECONDS), out.read_text(), err.read_text()
        )
    finally:
        running.kill()
        running.wait()
        out.unlink(missing_ok=True)
        err.unlink(missing_ok=True)


def install_tickets(commands: Path) -> None:
    """Write the command `tickets` into a directory, like that of an installation on the PATH."""
    commands.mkdir(exist_ok=True)
    script = commands / "tickets"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m interface.main "$@"\n')
    script.chmod(0o755)


def publishing(directory: Path, database_url: str, broker_url: str) -> Command:
    """Return a running publisher of every client, which logs its start."""
    return Command(directory, "publish", "--to", broker_url, TICKETS_DATABASE_URL=database_url)
