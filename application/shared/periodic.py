"""Work that is done again and again beside the requests."""

import logging
import threading
from collections.abc import Callable

from application.shared.errors import Unavailable

log = logging.getLogger(__name__)


class Periodic:
    """Runs a task in a thread: every so many seconds, and whenever it is woken.

    eager: also at the start and before it stops. A task that fails is tried again the next time. The regular run
    is what finds the work of a process that crashed, and what a lost wake-up does not stop.
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
        """Run the task now. Returns at once."""
        self._wake.set()

    def close(self, within_seconds: float | None = None) -> None:
        """Stop, after a last run where the task is eager. A run that does not end within that time is left alone."""
        self._closing = True
        self._wake.set()
        self._thread.join(within_seconds)
        if self._thread.is_alive():
            log.warning(
                "%s are not waited for any longer; what is not done is done after the next start", self._name
            )

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
            log.warning("%s is put off: %s", self._name, error)
        except Exception:
            log.exception("%s failed and is put off", self._name)
