"""The mapping of a record set to a table: the same statements on both stores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from application.transaction.records import Change, Key, RecordSet
from application.transaction.records import Row as Record

Row = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Loading(Generic[Key, Record]):
    """The query for the rows of a prefix.

    prefix: the columns of `{wanted}` with their types (text, bigint, uuid). columns: the expressions to select, with their
    types (text, bigint, bytea). read: gets their values. source: the FROM clause, by default the table joined with
    `{wanted}` by the prefix.
    """

    prefix: Mapping[str, str]
    columns: Mapping[str, str]
    read: Callable[..., tuple[Key, Record]]
    source: str = ""

    def statement(self, name: str, wanted: str, types: Sequence[str]) -> str:
        """Return the query for the table with this name; it returns the name, and a column of each of these types.

        wanted: a relation of prefixes.
        """
        selected = [f"CAST(NULL AS {kind})" for kind in types]
        for place, expression in zip(self.places(types), self.columns, strict=True):
            selected[place] = expression
        source = self.source or f"{{wanted}} JOIN {name} USING ({', '.join(self.prefix)})"
        return f"SELECT '{name}', {', '.join(selected)} FROM {source.format(wanted=wanted)}"

    def places(self, types: Sequence[str]) -> list[int]:
        """Return the index of each column among columns of these types."""
        free = list(enumerate(types))
        places = []
        for wanted in self.columns.values():
            found = next(column for column in free if column[1] == wanted)
            free.remove(found)
            places.append(found[0])
        return places


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
