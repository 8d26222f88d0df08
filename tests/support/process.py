"""`tickets` as a separate process, which a test can signal and kill."""

import importlib
import multiprocessing
import multiprocessing.process
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from interface.settings import PREFIX

_ROOT = Path(__file__).parents[2]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        __name__,
        "interface.main",
        "interface.outbound.brokers.nats_broker",
        "interface.outbound.brokers.kafka_broker",
    ]
)


class Forked:
    """A process forked from one that has imported `tickets`, since the imports take most of a second.

    The interface is that of subprocess.Popen.
    """

    def __init__(self, *what: Any) -> None:
        self._process: ForkServerProcess = _CONTEXT.Process(target=_run, args=what, daemon=True)
        self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("tickets", timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    directory: Path,
    arguments: Sequence[str],
    *,
    out: Path,
    err: Path,
    settings: Mapping[str, str],
    module: str = "interface.main",
    forked: bool = True,
) -> Forked | subprocess.Popen[bytes]:
    """Start `tickets` in a directory, as the leader of a process group.

    out, err: its output is appended to these files. settings: are added to the environment of the test.
    module: runs as `tickets`, such as with a fault. forked: whether the process may be forked; one is not that has
    settings of Python or of the loader, which they read at their start.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment = {**clean, "PYTHONPATH": str(_ROOT), **settings}
    if forked and not any(name.startswith(("PYTHON", "LD_")) for name in settings):
        return Forked(directory, arguments, out, err, environment, module)
    with out.open("ab") as output, err.open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=directory,
            env=environment,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )


def _run(
    directory: Path,
    arguments: Sequence[str],
    out: Path,
    err: Path,
    environment: Mapping[str, str],
    module: str,
) -> None:
    os.setsid()
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    sys.argv = ["tickets", *arguments]
    # The service distinguishes workers from the main process by this; only the main process has workers.
    multiprocessing.process._parent_process = None  # type: ignore[attr-defined]
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    importlib.import_module(module)
    importlib.import_module("interface.main").main()
