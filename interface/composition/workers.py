"""Several server processes under a parent process, with a common stop."""

import logging
import signal
import time
from multiprocessing.connection import wait
from socket import socket

from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

log = logging.getLogger(__name__)

# The exit status of a shell.
SIGNALLED = 128
_POLL_INTERVAL_SECONDS = 0.05
# The exit status of uvicorn after a clean stop, by the signal.
_ENDED_WELL = (0, -signal.SIGTERM, -signal.SIGINT)


_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Worker(Process):
    """A process that receives stop signals only once it can handle them: not during its imports."""

    def start(self) -> None:
        """Start the process, which inherits the blocked signals."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)

    def target(self, sockets: list[socket] | None = None) -> None:
        """Serve; this runs in the process, after its imports."""
        for number in _STOP_SIGNALS:
            signal.signal(number, self.server.handle_exit)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        super().target(sockets)


class Workers(Multiprocess):
    """Stops its processes on a signal; a second signal ends them immediately.

    Each process limits the duration of its stop. Raises SystemExit if one failed.
    """

    def handle_int(self) -> None:
        """Stop."""
        self._stop(signal.SIGINT)

    def handle_term(self) -> None:
        """Stop."""
        self._stop(signal.SIGTERM)

    def init_processes(self) -> None:
        """Start the processes."""
        for _ in range(self.processes_num):
            self.processes.append(_Worker(self.config, self.sockets))
            self.processes[-1].start()

    def keep_subprocess_alive(self) -> None:
        """Replace a process that has ended or hangs; stop if one cannot start.

        uvicorn's supervisor pings a process, and ignores signals until it responds: if a process dies meanwhile, such as by a
        signal to all during its start, the stop is delayed by the time limit of the ping.
        """
        for number, worker in enumerate(self.processes):
            if self._is_responsive(worker):
                continue
            ended = worker.process.exitcode
            worker.kill()
            worker.join()
            if worker.exitcode == STARTUP_FAILURE:
                self.should_exit.set()  # the process has logged the reason
                return
            log.warning(
                "process %s %s: another takes its place",
                worker.pid,
                "does not answer" if ended is None else f"ended with {ended}",
            )
            self.processes[number] = _Worker(self.config, self.sockets)
            self.processes[number].start()

    def _is_responsive(self, worker: Process) -> bool:
        """Ping a process. A process that did not respond before a signal arrived counts as responsive."""
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
        # A signal to all has ended it, too.
        return self.should_exit.is_set() or bool(self.signal_queue)

    def terminate_all(self) -> None:
        """Request all processes to stop. The sockets are closed first, so that no connection waits for a stopped process."""
        for listening in self.sockets:
            listening.close()
        super().terminate_all()

    def join_all(self) -> None:
        """Wait until all processes have ended."""
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
