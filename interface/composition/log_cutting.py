"""The job that empties SQLite's log, which otherwise contains erased personal data for a long time."""

import logging
import threading
from collections.abc import Callable

from application.shared.periodic import Periodic
from application.transaction.details import TEXTS_OF_USER
from interface.composition.service import RunningService
from interface.outbound.sql.sqlite_store import SqliteStore

log = logging.getLogger(__name__)
_MAX_PAUSE_SECONDS = 60
# One cut for all erasures in this time, such as those of a script.
_COLLECT_SECONDS = 10
# Longer than a page of an export or a backup of some gigabytes takes.
_WARN_AFTER_SECONDS = 300


def log_cutting(running: RunningService, stopping: threading.Event, every_seconds: float) -> Periodic | None:
    """Return the job that empties the log after erasures; None: the store is not SQLite.

    every_seconds: the interval of the search for erasures by other processes.
    """
    if not isinstance(running.store, SqliteStore):
        return None
    cutting = LogCutting(running.store, stopping.wait)
    job = Periodic("erasure from the log", cutting.run, every_seconds=every_seconds)
    # Only an erasure removes the texts of a user.
    running.listeners.register(job.wake, TEXTS_OF_USER)
    job.wake()
    return job


class LogCutting:
    """Empties the log at the first run, since a crash may have left erased data in it, and after erasures.

    wait: waits for a time in seconds, or until the service stops; returns whether it stops.
    """

    def __init__(self, store: SqliteStore, wait: Callable[[float], bool]) -> None:
        self._store = store
        self._wait = wait
        self._searched_to: int | None = None

    def run(self) -> None:
        """Empty the log if any process has erased a user since the last run. Raises StoreUnavailable."""
        newest, former = self._store.newest_event(), self._searched_to
        is_due = former is None or self._store.has_erasure(former)
        if is_due:
            self._cut()
        self._searched_to = newest
        if is_due:
            self._wait(_COLLECT_SECONDS)

    def _cut(self) -> None:
        """Retry until no other connection reads or writes. Each try stops the writers of the process for a moment."""
        pause, waited = 1, 0
        while not self._store.cut_log() and not self._wait(pause):
            waited += pause
            if waited - pause < _WARN_AFTER_SECONDS <= waited:
                log.warning(
                    "SQLite's log still contains erased data: a long read, such as a backup, keeps it"
                )
            pause = min(2 * pause, _MAX_PAUSE_SECONDS)
