"""Periodic background tasks."""

import logging
import threading
from collections.abc import Callable

from application.shared.errors import Unavailable

log = logging.getLogger(__name__)


class Periodic:
    """Runs a task in a thread at a fixed interval, and whenever it is woken.

    eager: also runs at the start and before it stops. A failed task is retried at the next run. The fixed interval
    finds the work of crashed processes and makes a lost wake-up harmless.
    """

    def __init__(
        self, name: str, task: Callable[[], object], *, every_seconds: float, eager: bool = False
    ) -> None:
        self._name = name
        self._task = task
        self._every_seconds = every_seconds
        self._eager = eager
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        if eager:
            self._wake.set()
        self._thread.start()

    def wake(self) -> None:
        """Request a run now; does not block."""
        self._wake.set()

    def close(self, within_seconds: float | None = None) -> None:
        """Stop, after a last run if the task is eager. A run that exceeds `within_seconds` is abandoned."""
        self._closing = True
        self._wake.set()
        self._thread.join(within_seconds)
        if self._thread.is_alive():
            log.warning("%s did not finish in time; the rest is done after the next start", self._name)

    def _run(self) -> None:
        while True:
            self._wake.wait(self._every_seconds)
            self._wake.clear()
            closing = self._closing
            if self._eager or not closing:
                self._try()
            if closing:
                return

    def _try(self) -> None:
        try:
            self._task()
        except Unavailable as error:
            log.warning("%s failed and will be retried: %s", self._name, error)
        except Exception:
            log.exception("%s failed and will be retried", self._name)
