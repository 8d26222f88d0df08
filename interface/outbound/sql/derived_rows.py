"""The rows that events determine: compared with the replayed states, rebuilt from them, or without events."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from application.record.streams import EVENTS
from application.transaction.records import DerivedRecords
from domain.shared.aggregate import Versioned
from interface.outbound.sql.row_seals import SqlRowSeals
from interface.outbound.sql.table import SEAL, Committed, Derived, chunks, upsert

Key = tuple[str, str]
_STREAMS = "SELECT topic, count(*) FROM ledger WHERE version = 1 GROUP BY topic"


class SqlDerivedRows(SqlRowSeals):
    """Implements the part of the port Ledger about derived record sets; the port documents the methods."""

    def derived_records(self) -> Sequence[DerivedRecords[Any, Any]]:
        """Return the record sets whose rows are determined by the events of an aggregate."""
        return list(self._tables.derived())

    def differing_rows(
        self, records: DerivedRecords[Any, Any], expected: Sequence[Versioned]
    ) -> Sequence[Key]:
        """Return the keys whose stored row differs from the expected state.

        Fields and columns of other releases are ignored (ADR 14).
        """
        derived = self._tables.derived()[records]
        differing: list[Key] = []
        for states in chunks(expected):
            keyed = [(state.key, state) for state in states]
            rows = self._fetch(
                _of_keys(records.name, derived.columns, derived.key, len(states)),
                [text for key, _ in keyed for text in key],
            )
            found = {row[:2]: row for row in map(tuple, rows)}
            differing += [key for key, state in keyed if derived.differs(found.get(key, ()), state)]
        return differing

    def rewrite_rows(self, records: DerivedRecords[Any, Any], states: Sequence[Versioned]) -> None:
        """Store the rows of these states, except those that are newer in the store. Not for CommittedRecords."""
        derived = self._tables.derived()[records]
        assert isinstance(derived, Derived)  # noqa: S101 - documented
        is_sealed = records.name in self._tables.sealed()
        statement, names = _rewriting(records.name, derived, [SEAL] if is_sealed else [])
        rows = [
            {**dict(zip(derived.columns, row, strict=True)), SEAL: self._tables.seal(records.name, row)}
            for row in map(derived.row, states)
        ]
        self._run(statement, [tuple(row[name] for name in names) for row in rows])

    def rows_without_events(self) -> Iterator[str]:
        """Yield a text for each row that has no stream in the ledger."""
        streams: Counter[str] = Counter()
        for topic, count in map(tuple, self._fetch(_STREAMS, ())):
            if event := EVENTS.get(topic):
                streams[event.AGGREGATE] += count
        for records, derived in self._tables.derived().items():
            if isinstance(derived, Committed):
                for *key, row in self._fetch(derived.unexplained, ()):
                    if derived.differs((*key, row), None):
                        yield _without_events(records, key)
                continue
            [(rows,)] = self._fetch(f"SELECT count(*) FROM {records.name}", ())
            if rows != streams[records.aggregate.TOPIC]:
                for key in self._without_stream(records, derived):
                    yield _without_events(records, key)

    def _without_stream(self, records: DerivedRecords[Any, Any], derived: Derived[Any]) -> Iterator[Key]:
        keys = self._fetch(f"SELECT {', '.join(derived.key)} FROM {records.name}", ())
        for chunk in chunks([tuple(key) for key in keys]):
            streams = {records.aggregate.of(key, None).id: key for key in chunk}
            rows = self._fetch(
                f"{_of_keys('ledger', ['stream'], ('client_ext_id', 'stream'), len(chunk))} WHERE version = 1",
                [value for stream, key in streams.items() for value in (key[0], stream)],
            )
            found = {UUID(str(stream)) for (stream,) in rows}
            yield from (key for stream, key in streams.items() if stream not in found)


def _of_keys(table: str, columns: Iterable[str], key: Sequence[str], count: int) -> str:
    """Return the statement for the rows with these keys of two columns; its parameters are their values."""
    # Not `IN (VALUES …)`, for which SQLite reads the complete table.
    marks = ",".join(["(?, ?)"] * count)
    selected = ", ".join(f"{table}.{name}" for name in columns)
    matching = f"{table}.{key[0]} = wanted.first AND {table}.{key[1]} = wanted.second"
    return f"WITH wanted (first, second) AS (VALUES {marks}) SELECT {selected} FROM wanted JOIN {table} ON {matching}"


def _without_events(records: DerivedRecords[Any, Any], key: Sequence[str]) -> str:
    return f"client {key[0]!r}, {records.noun} {key[1]!r}: the read row has no events"


def _rewriting(table: str, derived: Derived[Any], further: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the statement that stores a row unless a newer one is stored, and the columns of its parameters."""
    names, key = [*derived.columns, *further], derived.key
    changed = [name for name in names if name not in key]
    if derived.is_complete:
        values = f"VALUES ({', '.join('?' * len(names))})"
        return upsert(table, key, names, "WHERE stored.version <= excluded.version", values), names
    changes, found = ", ".join(f"{name} = ?" for name in changed), " AND ".join(f"{name} = ?" for name in key)
    return f"UPDATE {table} SET {changes} WHERE {found} AND version <= ?", [*changed, *key, "version"]
