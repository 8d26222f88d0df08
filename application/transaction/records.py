"""Record sets: the kinds of rows that commands load, change and store together with their events."""

from collections.abc import Hashable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar, cast

from msgspec import Struct

from application.shared.errors import RowRefused
from domain.shared.aggregate import Aggregate
from domain.shared.event import Event
from domain.shared.subject import Subject

Key = TypeVar("Key", bound=Hashable)
Row = TypeVar("Row")


class RecordSet(Generic[Key, Row]):
    """Immutable rows of one kind, each with a key. A capability declares its record sets; the store maps each to a table."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"RecordSet({self.name!r})"


class DerivedRecords(RecordSet[Key, Row]):
    """Rows that the events of an aggregate determine, so the check of the record compares them.

    noun: names a row in the findings of that check.
    """

    def __init__(self, name: str, aggregate: type[Aggregate[Any]], noun: str) -> None:
        super().__init__(name)
        self.aggregate = aggregate
        self.noun = noun


class CommittedRecords(DerivedRecords[Key, Row]):
    """Rows with values that no event contains: the state of the aggregate has a commitment to each row.

    The check of the record compares the rows with their commitments; they cannot be rebuilt.
    """


class Load(NamedTuple):
    """A request to load the rows of a record set whose key has this prefix."""

    records: RecordSet[Any, Any]
    prefix: tuple[Any, ...]


class Change(Struct, Generic[Row], frozen=True, gc=False):
    """A row before and after a transaction; None: the row does not exist."""

    former: Row | None
    row: Row | None


class LoadedState:
    """Loaded rows, including the changes of the earlier commands of a batch.

    A refused row fails only the commands that read it, since a batch has the rows of several callers.
    """

    def __init__(self) -> None:
        self._rows: dict[RecordSet[Any, Any], dict[Any, Any]] = {}
        self._stored: dict[tuple[RecordSet[Any, Any], Any], tuple[Any, ...]] = {}
        self._refused: set[tuple[RecordSet[Any, Any], tuple[Any, ...]]] = set()

    def get(self, records: RecordSet[Key, Row], key: Key) -> Row | None:
        """Return a loaded row; None: it does not exist. Raises RowRefused."""
        rows = self._rows.get(records)
        row = rows.get(key) if rows else None
        if row is None and self._refused and (records, key) in self._refused:
            raise RowRefused(records.name)
        return row

    def all(self, records: RecordSet[Key, Row]) -> dict[Key, Row]:
        """Return every loaded row of a record set that is not refused."""
        return self._rows.setdefault(records, {})

    def of_client(self, records: RecordSet[Key, Row], client_ext_id: str) -> dict[Key, Row]:
        """Return every loaded row of a client, whose id is the first part of the key. Raises RowRefused."""
        for refused, key in self._refused:
            if refused is records and key[0] == client_ext_id:
                self.get(records, cast("Key", key))
        return {key: row for key, row in self.all(records).items() if cast("Any", key)[0] == client_ext_id}

    @property
    def has_refused(self) -> bool:
        """Whether a row was refused."""
        return bool(self._refused)

    def refuse(self, records: RecordSet[Any, Any], key: tuple[Any, ...]) -> None:
        """Refuse a row: reading it raises RowRefused."""
        self._refused.add((records, key))

    def put(
        self, records: RecordSet[Key, Row], key: Key, row: Row, stored: tuple[Any, ...] | None = None
    ) -> None:
        """Set a row. stored: its stored form, which only the store reads."""
        self.all(records)[key] = row
        if stored is not None:
            self._stored[records, key] = stored

    def stored(self, records: RecordSet[Key, Row], key: Key) -> tuple[Any, ...] | None:
        """Return the stored form of a row; None: it has changed since, or was put without one."""
        return self._stored.get((records, key))

    def change(self, records: RecordSet[Key, Row], key: Key, row: Row | None) -> None:
        """Change or remove (None) a row."""
        self._stored.pop((records, key), None)
        if row is None:
            self.all(records).pop(key, None)
        else:
            self.all(records)[key] = row


class Changes(Struct, frozen=True):
    """The changes of one transaction, committed atomically.

    subjects: the subject of each event, in the same order. rows: by record set and key.
    """

    events: list[Event] = []
    subjects: list[Subject] = []
    rows: dict[RecordSet[Any, Any], dict[Any, Change[Any]]] = {}

    def __bool__(self) -> bool:
        return bool(self.events or self.rows)

    def append(self, events: Sequence[Event], subject: Subject) -> None:
        """Add events of a subject."""
        self.events.extend(events)
        self.subjects.extend([subject] * len(events))

    def put(self, records: RecordSet[Key, Row], key: Key, former: Row | None, row: Row | None) -> None:
        """Add a change of a row; `former` is ignored if the row has changed before."""
        rows = self.rows.setdefault(records, {})
        rows[key] = Change(rows[key].former if key in rows else former, row)

    def add(self, later: "Changes", loaded: LoadedState) -> None:
        """Add the changes of a command, and apply them to the loaded rows for the next commands."""
        self.events.extend(later.events)
        self.subjects.extend(later.subjects)
        for records, changed in later.rows.items():
            rows = self.rows.setdefault(records, {})
            for key, change in changed.items():
                before = rows.get(key)
                rows[key] = Change(before.former, change.row) if before else change
                loaded.change(records, key, change.row)
