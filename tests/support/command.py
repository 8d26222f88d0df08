"""The real command line as a process that a test can kill; forked after the imports, so that it starts at once."""

import contextlib
import importlib
import itertools
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from interface.main import main
from interface.settings import PREFIX
from tests.support.server import until

_numbers = itertools.count()
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [__name__, "interface.outbound.nats_broker", "interface.outbound.kafka_broker"]
)


class Command:
    """`tickets` with these arguments, in a directory.

    out: what it prints is appended there; a file, or a FIFO that the test reads. err: what it alone says beside that.
    before: a test module that is imported first, and wires it with a fault.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        output: str = "out",
        before: str = "",
        **settings: str,
    ) -> None:
        self.out = directory / output
        self.err = directory / f"err-{next(_numbers)}"
        self._process: ForkServerProcess = _CONTEXT.Process(
            target=_run, args=(directory, arguments, self.out, self.err, settings, before), daemon=True
        )
        self._process.start()

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self._process.kill()
        self._process.join()

    def stop_publishing(self) -> None:
        """Ask a publisher to end, once it has begun, and expect that it ends well."""
        self.said("publishing to")
        assert self.stop() == 0

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        """Ask it to end, and return its exit status."""
        assert self._process.pid
        os.kill(self._process.pid, number)
        return self.wait()

    def wait(self) -> int | None:
        """Wait until it ends by itself, and return its exit status."""
        self._process.join(30)
        return self._process.exitcode

    def said(self, words: str) -> None:
        """Wait until it says this beside its output."""
        until(lambda: self.err.exists() and words in " ".join(self.err.read_text().split()), words)


@contextlib.contextmanager
def command(directory: Path, *arguments: str, output: str = "out", **settings: str) -> Iterator[Command]:
    """Yield a running command; it is killed at the end."""
    running = Command(directory, *arguments, output=output, **settings)
    try:
        yield running
    finally:
        running.kill()


def publishing(directory: Path, database_url: str, broker_url: str) -> Command:
    """Return a running publisher of every client, which says when it has begun."""
    return Command(directory, "publish", "--to", broker_url, TICKETS_DATABASE_URL=database_url)


def _run(
    directory: Path,
    arguments: tuple[str, ...],
    out: Path,
    err: Path,
    settings: dict[str, str],
    before: str,
) -> None:
    os.chdir(directory)
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    os.environ.update(settings, COLUMNS="100", NO_COLOR="1")
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.argv = ["tickets", *arguments]
    if before:
        importlib.import_module(before)
    main()
