"""The seals of rows: checked when rows are loaded, and set in the rows of earlier releases (ADR 19)."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from application.operations.seal_rows import SealedPage
from application.shared.errors import RowRefused
from application.transaction.records import DerivedRecords
from interface.outbound.sql.codec import encode
from interface.outbound.sql.event_tables import SqlEvents
from interface.outbound.sql.table import CONTENT, Committed, Derived, Row, pages, sealed

_IS_COMPLETE = "SELECT 1 FROM row_seals WHERE name = ?"
_SET_COMPLETE = "INSERT INTO row_seals (name) VALUES (?) ON CONFLICT DO NOTHING"
_SET_INCOMPLETE = "DELETE FROM row_seals"

log = logging.getLogger(__name__)


class SqlRowSeals(SqlEvents):
    """Checks the seals of rows, and implements the port RowSeals."""

    _skipping = ""

    def _accepts(self, records: DerivedRecords[Any, Any], row: Row) -> bool:
        """Return whether a row was written by this service.

        While the table may have rows of an earlier release, a row without a valid seal is accepted if its events determine it or
        commit to it.
        """
        sealer = self._tables.sealer
        if sealer is None or sealer.matches(records.name, row, row[-1]):
            return True
        is_old = not self.is_complete(records.name) and self._is_determined(records, row)
        sealer.observe(records.name, "accepted" if is_old else "refused")
        place = _place(records, row[:2])
        if not is_old and sealer.is_to_be_named(place):
            log.error("%s: the row of table %s is refused: its seal does not match", place, records.name)
        return is_old

    def _contents(self, records: DerivedRecords[Any, Any], rows: Iterable[Any]) -> list[Any]:
        """Return the contents of rows with the columns of `sealed`. Raises RowRefused."""
        found = [tuple(row) for row in rows]
        if not all(self._accepts(records, row) for row in found):
            raise RowRefused(records.name)
        return [row[CONTENT] for row in found]

    def sealed_tables(self) -> Sequence[str]:
        """Return the names of the tables whose rows have a seal."""
        return list(self._tables.sealed())

    def is_complete(self, table: str) -> bool:
        """Return whether every row of a table must have a valid seal."""
        sealer = self._tables.sealer
        return sealer.is_complete(table, self._is_marked) if sealer else self._is_marked(table)

    def _is_marked(self, table: str) -> bool:
        return bool(self._fetch(_IS_COMPLETE, (table,)))

    def set_complete(self, table: str) -> None:
        """Record that every row of a table must have a valid seal."""
        self._run(_SET_COMPLETE, [(table,)])
        if sealer := self._tables.sealer:
            sealer.set_complete(table)

    def set_incomplete(self) -> None:
        """Record for each table that it may have rows without a seal; no effect on processes that have read the opposite."""
        self._run(_SET_INCOMPLETE, [()])

    def seal_pages(self, table: str) -> Iterator[SealedPage]:
        """Seal the rows without a valid seal that are equal to their events, in pages by key."""
        records = self._tables.sealed()[table]
        for page in self._pages(records):
            old: list[Row] = []
            refused: list[str] = []
            for row in page:
                if self._is_sealed(records, row):
                    continue
                if self._is_determined(records, row, is_sealed_next=True):
                    old.append(row)
                else:
                    refused.append(_place(records, row[:2]))
            self._seal(records, old)
            yield SealedPage(len(page), len(old), refused)

    def unsealed_rows(self) -> Iterator[str]:
        """Yield a text for each row without a valid seal in a table whose rows must have one."""
        if self._tables.sealer is None:
            return
        for table, records in self._tables.sealed().items():
            if self.is_complete(table):
                for page in self._pages(records):
                    for row in page:
                        if not self._is_sealed(records, row):
                            yield f"{_place(records, row[:2])}: column seal does not match the row"

    def _pages(self, records: DerivedRecords[Any, Any]) -> Iterator[list[Row]]:
        columns, key = ", ".join(sealed(self._key(records))), ", ".join(self._key(records))
        statement = f"SELECT {columns} FROM {records.name} WHERE ({key}) > (?, ?) ORDER BY {key} LIMIT ?"
        return pages(self._fetch, statement, ("", ""))

    def _is_sealed(self, records: DerivedRecords[Any, Any], row: Row) -> bool:
        sealer = self._tables.sealer
        return sealer is not None and sealer.matches(records.name, row, row[-1])

    def _seal(self, records: DerivedRecords[Any, Any], rows: Sequence[Row]) -> None:
        key = self._key(records)
        # A row that is locked or has changed gets its seal from its writer; waiting for it while holding locks could deadlock.
        found = (
            f"SELECT {', '.join(key)} FROM {records.name} WHERE {key[0]} = ? AND {key[1]} = ?"
            f" AND version = ? AND row = ? {self._skipping}"
        )
        statement = f"UPDATE {records.name} SET seal = ? WHERE ({', '.join(key)}) IN ({found})"
        self._run(statement, [(self._tables.seal(records.name, row), *row[:-1]) for row in rows])

    def _key(self, records: DerivedRecords[Any, Any]) -> Sequence[str]:
        return self._tables.derived()[records].key

    def _is_determined(
        self, records: DerivedRecords[Any, Any], row: Row, *, is_sealed_next: bool = False
    ) -> bool:
        """Return whether the events of a row determine it, or commit to it, at some version.

        is_sealed_next: a row without a commitment is then accepted only if no event commits to its user (ADR 16).
        """
        checked = self._tables.derived()[records]
        try:
            stream = records.aggregate.of(row[:2], None).id
            if isinstance(checked, Committed):
                states = [None]
                for event in self.events_of(stream):
                    states.append(records.aggregate.evolve(states[-1], event))
                if is_sealed_next and len(states) > 1 and not checked.differs(row[: CONTENT + 1], None):
                    return False
                return any(not checked.differs(row[: CONTENT + 1], state) for state in states)
            return self._is_folded(records, checked, stream, row)
        except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
            return False  # the row or an event cannot be decoded

    def _is_folded(
        self, records: DerivedRecords[Any, Any], derived: Derived[Any], stream: UUID, row: Row
    ) -> bool:
        """Return whether the row is the state at its version that the events determine."""
        *_, version, content, _ = row
        # While a process of an earlier release changes rows, each change adds few events to a state that is known.
        place = (records.name, *row[:2])
        known = self._tables.folded.get(place)
        state = known if known and known.version <= version else None
        for event in self._events_between(row[0], stream, state.version if state else 0, version):
            state = records.aggregate.evolve(state, event)
        # Rows of earlier releases lack fields that have defaults.
        stored = (*row[:CONTENT], encode(derived.decode(content)))
        is_equal = state is not None and stored == derived.row(state)[: CONTENT + 1]
        if is_equal:
            self._tables.keep_folded(place, state)
        return is_equal


def _place(records: DerivedRecords[Any, Any], key: Row) -> str:
    return f"client {key[0]!r}, {records.noun} {key[1]!r}"
