"""Several server processes under one, which stop as one does."""

import signal

from uvicorn.supervisors import Multiprocess

# As a shell says it.
SIGNALLED = 128
_LOOK_EVERY_SECONDS = 0.05
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

    def terminate_all(self) -> None:
        """Ask all to stop. Nobody is let in to wait for one who takes no more."""
        for listening in self.sockets:
            listening.close()
        super().terminate_all()

    def join_all(self) -> None:
        """Wait until all have ended."""
        for worker in self.processes:
            while worker.process.is_alive():
                worker.process.join(_LOOK_EVERY_SECONDS)
                self.handle_signals()
        if not all(worker.exitcode in _ENDED_WELL for worker in self.processes):
            raise SystemExit(1)

    def _stop(self, number: signal.Signals) -> None:
        if self.should_exit.is_set():
            for worker in self.processes:
                worker.process.kill()
            raise SystemExit(SIGNALLED + number)
        self.should_exit.set()
