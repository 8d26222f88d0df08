"""Seal the rows of earlier releases, so that a row without a valid seal can be refused."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import sleep
from typing import NamedTuple, Protocol

from application.transaction.store import Store

_PAUSE_SECONDS = 0.1


class SealedPage(NamedTuple):
    """A page of rows.

    sealed: the number of those that got a seal, or that another transaction locks. refused: the places of those that differ
    from their events.
    """

    rows: int
    sealed: int
    refused: Sequence[str]


class RowSeals(Protocol):
    """The seals of the rows in the store. Raises StoreUnavailable."""

    def sealed_tables(self) -> Sequence[str]:
        """Return the names of the tables whose rows have a seal."""

    def is_complete(self, table: str) -> bool:
        """Return whether every row of a table must have a valid seal."""

    def set_complete(self, table: str) -> None:
        """Record that every row of a table must have a valid seal."""

    def set_incomplete(self) -> None:
        """Record for each table that it may have rows without a seal; no effect on processes that have read the opposite."""

    def seal_pages(self, table: str) -> Iterator[SealedPage]:
        """Seal the rows without a valid seal that are equal to their events, in pages by key."""


@dataclass
class SealReport:
    """The numbers of rows and of those that were sealed. refused: the places of those that differ from their events."""

    rows: int = 0
    sealed: int = 0
    refused: list[str] = field(default_factory=list)


def seal_rows(
    *,
    store: Store,
    seals: RowSeals,
    finish: bool = False,
    stopped: Callable[[], bool] = lambda: False,
    report_progress: Callable[[int], None] = lambda _: None,
    wait: Callable[[float], object] = sleep,
) -> SealReport | None:
    """Seal the rows of earlier releases in each table that is not complete; None: another process is doing so.

    finish: no process of an earlier release uses the store any more; all tables, and afterwards every table is complete
    unless a row is refused. Since a locked row is skipped, a table is read again until no row is without a seal. stopped: called
    after each page. Raises StoreUnavailable.
    """
    with store.lease("row-seals") as held:
        if not held:
            return None
        report = SealReport()
        for table in seals.sealed_tables():
            if finish or not seals.is_complete(table):
                found = _seal_once(table, seals, stopped, report.rows, report_progress)
                report.rows += found.rows
                report.sealed += found.sealed
                report.refused += found.refused
                while finish and found.sealed and not stopped():
                    wait(_PAUSE_SECONDS)
                    found = _seal_once(table, seals, stopped)
                    report.refused += sorted({*found.refused}.difference(report.refused))
            if stopped():
                return report
        if finish and not report.refused:
            for table in seals.sealed_tables():
                seals.set_complete(table)
        return report


def reopen_tables(*, store: Store, seals: RowSeals) -> bool:
    """Accept rows without a seal again, for a return to a release before 1.1; False: another process seals rows now.

    Raises StoreUnavailable.
    """
    with store.lease("row-seals") as held:
        if held:
            seals.set_incomplete()
        return held is not None


def _seal_once(
    table: str,
    seals: RowSeals,
    stopped: Callable[[], bool],
    counted: int = 0,
    report_progress: Callable[[int], None] = lambda _: None,
) -> SealReport:
    report = SealReport()
    for page in seals.seal_pages(table):
        report.rows += page.rows
        report.sealed += page.sealed
        report.refused += page.refused
        report_progress(counted + report.rows)
        if stopped():
            break
    return report
