"""The mapping of a record set to a table: the same statements on both stores."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple

from application.transaction.records import Change, Key, LoadedState, RecordSet
from application.transaction.records import Row as Record

Row = tuple[Any, ...]
_NOTHING = {
    "text": "CAST(NULL AS text)",
    "more_text": "CAST(NULL AS text)",
    "number": "CAST(NULL AS bigint)",
    "row": "CAST(NULL AS bytea)",
    "sealed": "CAST(NULL AS bytea)",
    "progress": "CAST(NULL AS bytea)",
}


class LoadedRow(NamedTuple):
    """A loaded row of any table, so that one statement loads rows of several; fields that a table lacks are None."""

    name: str
    text: str
    more_text: str
    number: int
    row: bytes
    sealed: bytes
    progress: bytes


@dataclass(frozen=True, kw_only=True, eq=False)
class Loading(Generic[Key, Record]):
    """The query for the rows of a prefix.

    prefix: the columns of `{wanted}` with their types (text, bigint, uuid). source: the FROM clause, by default the table
    joined with `{wanted}` by the prefix. expressions: for the fields of LoadedRow.
    """

    prefix: Mapping[str, str]
    expressions: Mapping[str, str]
    read: Callable[[LoadedRow], tuple[Key, Record]]
    source: str = ""

    def statement(self, name: str, wanted: str) -> str:
        """Return the query for the table with this name. wanted: a relation of prefixes."""
        fields = ", ".join((_NOTHING | dict(self.expressions)).values())
        source = self.source or f"{{wanted}} JOIN {name} USING ({', '.join(self.prefix)})"
        return f"SELECT '{name}', {fields} FROM {source.format(wanted=wanted)}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Storing(Generic[Key, Record]):
    """A statement for changed rows, which it reads from the relation `{new}`.

    columns: of that relation, with their types (text, bigint, bytea).
    """

    columns: Mapping[str, str]
    statement: str
    write: Callable[[Key, Change[Record]], Row]


@dataclass(frozen=True, kw_only=True, eq=False)
class Table(Generic[Key, Record]):
    """The table of a record set.

    loading: None if its rows are never loaded for a command. store, remove: for rows that are put and removed.
    guarded: each row must be unchanged since it was loaded, or the transaction conflicts.
    """

    records: RecordSet[Key, Record]
    store: Storing[Key, Record] | None = None
    remove: Storing[Key, Record] | None = None
    loading: Loading[Key, Record] | None = None
    guarded: bool = False

    @property
    def required_loading(self) -> Loading[Key, Record]:
        """The query for the rows. Raises LookupError if they are never loaded."""
        if self.loading is None:
            raise LookupError(f"{self.records} is not loaded")
        return self.loading

    def steps(self, changes: Mapping[Key, Change[Record]]) -> list[tuple[Storing[Key, Record], list[Row]]]:
        """Return the statements that store the changes, each with its rows."""
        steps = []
        for storing, removes in ((self.store, False), (self.remove, True)):
            rows = [
                storing.write(key, change)
                for key, change in changes.items()
                if storing and (change.row is None) is removes
            ]
            if storing and rows:
                steps.append((storing, rows))
        return steps


def upsert(table: str, key: Sequence[str], columns: Sequence[str], condition: str = "") -> str:
    """Return the statement that adds rows, or replaces those with the same key (if the condition holds)."""
    names = ", ".join(columns)
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in key)
    return (
        f"INSERT INTO {table} AS stored ({names}) SELECT {names} FROM {{new}} WHERE true"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes} {condition}"
    )


class LoadQuery(NamedTuple):
    """A statement that loads rows of several tables. prefixes: of each of the tables."""

    statement: str
    prefixes: Sequence[Sequence[tuple[Any, ...]]]
    tables: Sequence[Table[Any, Any]]

    @property
    def columns(self) -> Sequence[Mapping[str, str]]:
        """The columns of the prefixes of each table."""
        return [table.required_loading.prefix for table in self.tables]

    def read(self, rows: Iterable[Any]) -> LoadedState:
        """Return the state with the rows that the statement found."""
        state, tables = LoadedState(), {table.records.name: table for table in self.tables}
        for row in rows:
            loaded = LoadedRow(*row)
            table = tables[loaded.name]
            state.put(table.records, *table.required_loading.read(loaded))
        return state
