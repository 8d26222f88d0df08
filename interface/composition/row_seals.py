"""The job that seals the rows of earlier releases."""

import logging
from collections.abc import Callable

from application.operations.seal_rows import SealReport, reopen_tables, seal_rows
from domain.record.installation import OperatorActed
from interface.composition.installation import note
from interface.composition.service import RunningService, in_background
from interface.settings import read_settings

log = logging.getLogger(__name__)


class RowSealing:
    """Seals the rows of earlier releases, once in the life of a process."""

    def __init__(self, running: RunningService, stopped: Callable[[], bool]) -> None:
        self._running, self._stopped = running, stopped
        self._is_done = False

    def run(self) -> None:
        """Seal the rows, unless another process is doing so. Raises StoreUnavailable."""
        if self._is_done:
            return
        report = seal_rows(store=self._running.store, seals=self._running.store, stopped=self._stopped)
        if report is None or self._stopped():
            return
        self._is_done = True
        if report.sealed:
            log.info("%d rows of an earlier release are sealed now", report.sealed)
        if report.refused:
            log.error("%d rows differ from their events: run `tickets replay --check`", len(report.refused))


def reopen_now() -> bool:
    """Accept rows without a seal again; False if another process seals rows. Raises InvalidSettings, Unavailable."""
    with in_background(read_settings()) as (running, _):
        is_done = reopen_tables(store=running.store, seals=running.store)
        if is_done:
            note(running.store, OperatorActed, "tickets jobs seal --reopen", failed=False)
        return is_done


def seal_now(report: Callable[[int], None], *, finish: bool) -> SealReport | None:
    """Seal the rows of earlier releases; None if another process does so. Raises InvalidSettings, Unavailable."""
    with in_background(read_settings()) as (running, _):
        found = seal_rows(store=running.store, seals=running.store, finish=finish, report_progress=report)
        if found:
            refused = len(found.refused)
            figures = {"sealed": found.sealed, "rows": found.rows, "refused": refused, "finish": int(finish)}
            note(running.store, OperatorActed, "tickets jobs seal", failed=bool(refused), **figures)
        return found
