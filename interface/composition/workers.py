"""Several server processes under one, which stop as one does."""

import logging
import signal
import time
from multiprocessing.connection import wait

from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

log = logging.getLogger(__name__)

# As a shell says it.
SIGNALLED = 128
_POLL_INTERVAL_SECONDS = 0.05
# What uvicorn ends with, by the signal that stopped it, when all is done.
_ENDED_WELL = (0, -signal.SIGTERM, -signal.SIGINT)


class Workers(Multiprocess):
    """Stops its processes when a signal asks it to; a second one ends all of them at once.

    Each process bounds by itself how long it takes. Raises SystemExit where one did not end well.
    """

    def handle_int(self) -> None:
        """Stop."""
        self._stop(signal.SIGINT)

    def handle_term(self) -> None:
        """Stop."""
        self._stop(signal.SIGTERM)

    def keep_subprocess_alive(self) -> None:
        """Replace who has ended or hangs; stop where one cannot start.

        uvicorn's own asks a process, and then heeds no signal until it answers: one that dies meanwhile, such as by a
        signal to all while it starts, held up the stop for as long as one may hang.
        """
        for number, worker in enumerate(self.processes):
            if self._is_well(worker):
                continue
            ended = worker.process.exitcode
            worker.kill()
            worker.join()
            if worker.exitcode == STARTUP_FAILURE:
                self.should_exit.set()  # it has said itself why
                return
            log.warning(
                "process %s %s: another takes its place",
                worker.pid,
                "does not answer" if ended is None else f"ended with {ended}",
            )
            self.processes[number] = Process(self.config, self.sockets)
            self.processes[number].start()

    def _is_well(self, worker: Process) -> bool:
        """Ask a process whether it is well. Who did not answer before a signal came counts as well."""
        hangs_at = time.monotonic() + self.config.timeout_worker_healthcheck
        try:
            worker.parent_conn.send(b"ping")
            while time.monotonic() < hangs_at and worker.process.is_alive():
                if self.should_exit.is_set() or self.signal_queue:
                    return True
                if wait([worker.parent_conn], _POLL_INTERVAL_SECONDS):
                    worker.parent_conn.recv()
                    return True
        except (OSError, EOFError):
            pass
        return False

    def terminate_all(self) -> None:
        """Ask all to stop. Nobody is let in to wait for one who takes no more."""
        for listening in self.sockets:
            listening.close()
        super().terminate_all()

    def join_all(self) -> None:
        """Wait until all have ended."""
        for worker in self.processes:
            while worker.process.is_alive():
                worker.process.join(_POLL_INTERVAL_SECONDS)
                self.handle_signals()
        if not all(worker.exitcode in _ENDED_WELL for worker in self.processes):
            raise SystemExit(1)

    def _stop(self, number: signal.Signals) -> None:
        if self.should_exit.is_set():
            for worker in self.processes:
                worker.process.kill()
            raise SystemExit(SIGNALLED + number)
        self.should_exit.set()
