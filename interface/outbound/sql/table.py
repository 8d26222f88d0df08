"""The mapping of a record set to a table: the same statements on both stores."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

from application.transaction.records import Change, Key, RecordSet
from application.transaction.records import Row as Value
from domain.shared.aggregate import Versioned
from interface.outbound.sql.codec import encode

Row = tuple[Any, ...]
Fetch = Callable[[str, Sequence[Any]], list[Any]]
"""Returns the rows of a query with these parameters."""
State = TypeVar("State", bound=Versioned)
Item = TypeVar("Item")
_ROWS_PER_STATEMENT = 500
SEAL = "seal"
# The position of the content in a sealed row.
CONTENT = 3


def sealed(key: Sequence[str]) -> Mapping[str, str]:
    """Return the columns that are loaded to check the seal of a row, which covers those before it, with their types."""
    return {**dict.fromkeys(key, "text"), "version": "bigint", "row": "bytea", SEAL: "bytea"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Loading(Generic[Key, Value]):
    """The query for the rows of a prefix.

    prefix: the columns of `{wanted}` with their types (text, bigint, uuid). columns: the expressions to select, with their
    types (text, bigint, bytea). read: gets their values. source: the FROM clause, by default the table joined with
    `{wanted}` by the prefix. is_sealed: the columns are those of `sealed`, and `read` gets the content of a row only.
    """

    prefix: Mapping[str, str]
    columns: Mapping[str, str]
    read: Callable[..., tuple[Key, Value]]
    source: str = ""
    is_sealed: bool = False

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
class Storing(Generic[Key, Value]):
    """A statement for changed rows, which it reads from the relation `{new}`.

    columns: of that relation, with their types (text, bigint, bytea). is_counted: in a guarded table, it must change as many
    rows as it reads, or the transaction conflicts.
    """

    columns: Mapping[str, str]
    statement: str
    write: Callable[[Key, Change[Value]], Row]
    is_counted: bool = True

    @property
    def is_sealed(self) -> bool:
        """Whether the last column is the seal of the row, which `write` does not return."""
        return SEAL in self.columns


class Column(NamedTuple):
    """A column that the events determine. type: text, bigint or bytea. value: returns its value for a state."""

    type: str
    value: Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Derived(Generic[State]):
    """The columns that the events of an aggregate determine.

    columns: by name; the first two are the key of the state. Column `version` is its version, and column `row` its encoded
    form. decode: of column `row`. is_complete: the table has no other columns. seals: a row comes with a sealed secret, here or
    in another table.
    """

    columns: Mapping[str, Column]
    decode: Callable[[bytes], State]
    is_complete: bool = True
    seals: bool = False

    @cached_property
    def _values(self) -> Sequence[Callable[[Any], Any]]:
        return [column.value for column in self.columns.values()]

    @property
    def key(self) -> Sequence[str]:
        """The names of the columns of the key."""
        return list(self.columns)[:2]

    @property
    def types(self) -> Mapping[str, str]:
        """The type of each column."""
        return {name: column.type for name, column in self.columns.items()}

    def row(self, state: State) -> Row:
        """Return the values of the columns."""
        return tuple([value(state) for value in self._values])

    def differs(self, row: Row, state: State) -> bool:
        """Return whether a stored row (empty: missing) differs from the state; fields of other releases are ignored."""
        wanted = self.row(state)
        return row != wanted and self._of_this_release(row, wanted) != wanted

    def _of_this_release(self, row: Row, wanted: Row) -> Row:
        """Return the columns as this release writes them: rows only grow, by fields with defaults and nullable columns."""
        # NULL: a release did not know the column yet, or did not write it. The columns of release 1.0.0 are NOT NULL.
        pairs = zip(row, wanted, strict=False)
        filled = [expected if None in (stored, expected) else stored for stored, expected in pairs]
        columns = dict(zip(self.columns, filled, strict=False))
        with suppress(ValueError, TypeError, RecursionError, KeyError):
            columns["row"] = encode(self.decode(columns["row"]))
        return tuple(columns.values())


@dataclass(frozen=True, kw_only=True, eq=False)
class Committed(Generic[State]):
    """The columns that the events of an aggregate commit to.

    columns: their names; the first two are the key of the state. differs: returns whether a stored row (empty: missing)
    differs from the state. unexplained: selects the keys and rows without events; the check reports those that `differs`
    from no state.
    """

    columns: Sequence[str]
    differs: Callable[[Row, State | None], bool]
    unexplained: str

    @property
    def key(self) -> Sequence[str]:
        """The names of the columns of the key."""
        return self.columns[:2]


@dataclass(frozen=True, kw_only=True, eq=False)
class Table(Generic[Key, Value]):
    """The table of a record set.

    loading: None if its rows are never loaded for a command. store, remove: for rows that are put and removed.
    guarded: each row must be unchanged since it was loaded, or the transaction conflicts; its statements run when the ledgers
    are locked and all other rows are stored. derived: for
    DerivedRecords. committed: for CommittedRecords. check: yields a message for each row that differs from the events, for
    other record sets.
    """

    records: RecordSet[Key, Value]
    store: Storing[Key, Value] | None = None
    remove: Storing[Key, Value] | None = None
    loading: Loading[Key, Value] | None = None
    guarded: bool = False
    derived: Derived[Any] | None = None
    check: Callable[[Fetch], Iterator[str]] | None = None
    committed: Committed[Any] | None = None

    @property
    def required_loading(self) -> Loading[Key, Value]:
        """The query for the rows. Raises LookupError if they are never loaded."""
        if self.loading is None:
            raise LookupError(f"{self.records} is not loaded")
        return self.loading

    @property
    def checked(self) -> Derived[Any] | Committed[Any]:
        """The columns that events determine or commit to. Raises LookupError if there are none."""
        found = self.derived or self.committed
        if found is None:
            raise LookupError(f"no events determine {self.records}")
        return found

    @property
    def is_sealed(self) -> bool:
        """Whether its rows have a seal."""
        return self.store is not None and self.store.is_sealed

    def steps(self, changes: Mapping[Key, Change[Value]]) -> list[tuple[Storing[Key, Value], list[Row]]]:
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


def upsert(
    table: str, key: Sequence[str], columns: Sequence[str], condition: str = "", source: str = ""
) -> str:
    """Return the statement that adds rows, or replaces those with the same key (if the condition holds).

    source: of the rows, by default the relation `{new}`.
    """
    names = ", ".join(columns)
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in key)
    return (
        f"INSERT INTO {table} AS stored ({names}) {source or f'SELECT {names} FROM {{new}} WHERE true'}"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes} {condition}"
    )


def chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Split the items into chunks that a statement can have as parameters."""
    for begin in range(0, len(items), _ROWS_PER_STATEMENT):
        yield items[begin : begin + _ROWS_PER_STATEMENT]


def padded(chunk: Sequence[Item], filler: Item) -> Sequence[Item]:
    """Return the items with fillers up to a power of two, so that few different statements are prepared."""
    return [*chunk, *[filler] * ((1 << (len(chunk) - 1).bit_length()) - len(chunk))]


def pages(fetch: Fetch, statement: str, place: Row) -> Iterator[list[Row]]:
    """Yield all rows in pages. statement: returns the rows after a key, which are its first columns; place: before all."""
    while page := [tuple(row) for row in fetch(statement, (*place, _ROWS_PER_STATEMENT))]:
        yield page
        place = page[-1][: len(place)]
