"""The tables of a store: each capability registers the tables of its record sets."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, reduce
from operator import or_
from typing import Any, NamedTuple

from application.transaction.records import Changes, DerivedRecords, Load, LoadedState, RecordSet
from interface.outbound.keys.row_sealer import RowSealer
from interface.outbound.sql.answer_table import ANSWER_TABLE, ANSWERS_OF_USER_TABLE
from interface.outbound.sql.details_table import DETAILS_TABLE, TEXTS_OF_USER_TABLE
from interface.outbound.sql.table import CONTENT, Committed, Derived, Fetch, Loading, Row, Storing, Table

Wanted = Callable[[Mapping[str, str]], str]
"""Returns the relation of prefixes with such columns."""
Accepts = Callable[[Any, Row], bool]
"""Returns whether a row was written by this service, by its record set and the columns of `sealed`."""

# The states that are kept; a row without a seal is rare after an upgrade.
_FOLDED = 1_000


class Tables:
    """The registered tables, and those of the reasons of events and of the answers to commands.

    sealer: None: rows are neither sealed nor checked.
    """

    def __init__(self, tables: Iterable[Table[Any, Any]], sealer: RowSealer | None = None) -> None:
        base = (DETAILS_TABLE, TEXTS_OF_USER_TABLE, ANSWERS_OF_USER_TABLE, ANSWER_TABLE)
        self._by_records = {table.records: table for table in (*tables, *base)}
        self.sealer = sealer
        self.folded: dict[tuple[str, str, str], Any] = {}

    def keep_folded(self, place: tuple[str, str, str], state: Any) -> None:
        """Keep the state that the events of a row without a seal determine, by table and key, for its next check."""
        if len(self.folded) >= _FOLDED:
            self.folded.clear()
        self.folded[place] = state

    def sealed(self) -> Mapping[str, DerivedRecords[Any, Any]]:
        """Return the record sets whose rows have a seal, by the names of their tables."""
        return {
            records.name: records
            for records, table in self._by_records.items()
            if table.is_sealed and isinstance(records, DerivedRecords)
        }

    def seal(self, table: str, row: Row) -> bytes | None:
        """Return the seal of a row that begins with key, version and content; None without a sealer."""
        return self.sealer.seal(table, row) if self.sealer else None

    def derived(self) -> Mapping[DerivedRecords[Any, Any], Derived[Any] | Committed[Any]]:
        """Return the columns that events determine or commit to, by record set."""
        return {
            records: table.checked
            for records, table in self._by_records.items()
            if isinstance(records, DerivedRecords)
        }

    def checks(self) -> Sequence[Callable[[Fetch], Iterator[str]]]:
        """Return the checks of the tables whose rows events do not determine completely."""
        return [table.check for table in self._by_records.values() if table.check]

    def steps(self, changes: Changes, *, guarded: bool) -> list[tuple[Storing[Any, Any], list[Row]]]:
        """Return the statements that store the changed rows of the guarded or of the other tables, with the rows."""
        return [
            (storing, [(*row, self.seal(records.name, row)) for row in rows] if storing.is_sealed else rows)
            for records, table in self._by_records.items()
            if records in changes.rows and table.guarded is guarded
            for storing, rows in table.steps(changes.rows[records])
        ]

    def load_query(self, loads: Sequence[Load], wanted: Wanted) -> "LoadQuery | None":
        """Return the query for these rows; None: no rows."""
        prefixes: dict[RecordSet[Any, Any], list[tuple[Any, ...]]] = {}
        for records, prefix in loads:
            prefixes.setdefault(records, []).append(prefix)
        if not prefixes:
            return None
        # In the order of registration, so that equal kinds of loads share a statement, which a connection prepares once.
        tables = tuple(table for records, table in self._by_records.items() if records in prefixes)
        return LoadQuery(*_query(tables, wanted), [prefixes[table.records] for table in tables])


_Source = tuple[RecordSet[Any, Any], Loading[Any, Any], Sequence[int]]


class LoadQuery(NamedTuple):
    """A statement that loads rows of several tables.

    sources: by its name, each record set, its loading, and the places of its columns in a row. prefixes: of each of
    them.
    """

    statement: str
    sources: Mapping[str, "_Source"]
    prefixes: Sequence[Sequence[tuple[Any, ...]]]

    @property
    def columns(self) -> Sequence[Mapping[str, str]]:
        """The columns of the prefixes of each table."""
        return [loading.prefix for _, loading, _ in self.sources.values()]

    @property
    def types(self) -> Sequence[str]:
        """The types of the columns of a row that the statement finds."""
        types = {
            place: kind
            for _, loading, places in self.sources.values()
            for place, kind in zip(places, loading.columns.values(), strict=True)
        }
        return ["text", *(types[place] for place in sorted(types))]

    def read(self, rows: Iterable[Any], accepts: Accepts) -> LoadedState:
        """Return the state with the rows that the statement found; those that are not accepted are refused."""
        state = LoadedState()
        for row in rows:
            records, loading, places = self.sources[row[0]]
            columns = tuple([row[place] for place in places])
            if not loading.is_sealed:
                key, loaded = loading.read(*columns)
                state.put(records, key, loaded)
            elif accepts(records, columns):
                key, loaded = loading.read(columns[CONTENT])
                state.put(records, key, loaded, columns[2:])
            else:
                state.refuse(records, columns[:2])
        return state


@cache
def _query(tables: tuple[Table[Any, Any], ...], wanted: Wanted) -> tuple[str, Mapping[str, "_Source"]]:
    loadings = {table: table.required_loading for table in tables}
    # As many columns of each type as the table with the most of them, since one statement loads from all tables.
    most = reduce(or_, (Counter(loading.columns.values()) for loading in loadings.values()))
    types = sorted(most.elements())
    statement = " UNION ALL ".join(
        loading.statement(table.records.name, wanted(loading.prefix), types)
        for table, loading in loadings.items()
    )
    # The first column of a row is the name of its table.
    return statement, {
        table.records.name: (table.records, loading, [1 + place for place in loading.places(types)])
        for table, loading in loadings.items()
    }
