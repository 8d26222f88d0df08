"""The job that empties SQLite's log, which otherwise contains erased personal data for a long time."""

import logging
import threading
from functools import partial

from application.shared.periodic import Periodic
from application.transaction.details import TEXTS_OF_USER
from interface.composition.service import RunningService
from interface.outbound.sql.sqlite_store import SqliteStore

log = logging.getLogger(__name__)
_RETRY_SECONDS = 1
# Longer than a page of an export or a backup of some gigabytes takes.
_WARN_AFTER_TRIES = 300


def log_cutting(running: RunningService, stopping: threading.Event, every_seconds: float) -> Periodic | None:
    """Return the job that empties the log after each erasure; None: the store is not SQLite.

    At the start and periodically it also empties the log for erasures by other processes.
    """
    if not isinstance(running.store, SqliteStore):
        return None
    cut = partial(_cut, running.store, stopping)
    job = Periodic("erasure from the log", cut, every_seconds=every_seconds)
    # Only an erasure removes the texts of a user.
    running.listeners.register(job.wake, TEXTS_OF_USER)
    job.wake()
    return job


def _cut(store: SqliteStore, stopping: threading.Event) -> None:
    """Retry until no other connection reads or writes. Raises StoreUnavailable."""
    tries = 1
    while not store.cut_log() and not stopping.wait(_RETRY_SECONDS):
        tries += 1
        if tries == _WARN_AFTER_TRIES:
            log.warning("SQLite's log still contains erased data: a long read, such as a backup, keeps it")
