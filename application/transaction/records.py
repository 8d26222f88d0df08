"""Record sets: the kinds of rows that commands load, change, and store together with their events."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from domain.shared.event import Event
from domain.shared.subject import Subject

Key = TypeVar("Key", bound=Hashable)
Row = TypeVar("Row")


class RecordSet(Generic[Key, Row]):
    """Rows of one kind, each under a key. A capability declares its own; the store has a table for each.

    Rows are immutable values.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"RecordSet({self.name!r})"


class Load(NamedTuple):
    """What a command or a read needs: the rows of a record set whose key begins so."""

    records: RecordSet[Any, Any]
    prefix: tuple[Any, ...]


class Change(NamedTuple, Generic[Row]):
    """A row before and after a transaction; None: it does not exist."""

    former: Row | None
    row: Row | None


class LoadedState:
    """What the store holds of some record sets, under what the earlier commands of a batch changed."""

    def __init__(self) -> None:
        self._rows: dict[RecordSet[Any, Any], dict[Any, Any]] = {}

    def get(self, records: RecordSet[Key, Row], key: Key) -> Row | None:
        """Return a row that was loaded; None where it does not exist."""
        return self._rows.get(records, {}).get(key)

    def all(self, records: RecordSet[Key, Row]) -> Mapping[Key, Row]:
        """Return every row of a record set that was loaded."""
        return self._rows.get(records, {})

    def put(self, records: RecordSet[Key, Row], key: Key, row: Row | None) -> None:
        """Set a row; None removes it."""
        rows = self._rows.setdefault(records, {})
        if row is None:
            rows.pop(key, None)
        else:
            rows[key] = row


@dataclass(frozen=True)
class Changes:
    """All that one transaction stores: it commits together or not at all.

    subjects: of each event, in the same order. rows: by record set and key.
    """

    events: list[Event] = field(default_factory=list)
    subjects: list[Subject] = field(default_factory=list)
    rows: dict[RecordSet[Any, Any], dict[Any, Change[Any]]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.events or self.rows)

    def append(self, events: Sequence[Event], subject: Subject) -> None:
        """Add events about a subject."""
        self.events.extend(events)
        self.subjects.extend([subject] * len(events))

    def put(self, records: RecordSet[Key, Row], key: Key, former: Row | None, row: Row | None) -> None:
        """Add a change of a row; `former` counts only where it is the first one of that row."""
        rows = self.rows.setdefault(records, {})
        rows[key] = Change(rows[key].former if key in rows else former, row)

    def of(self, records: RecordSet[Key, Row]) -> Mapping[Key, Change[Row]]:
        """Return the changes of a record set."""
        return self.rows.get(records, {})

    def add(self, later: "Changes", loaded: LoadedState) -> None:
        """Add what the next command of the batch changed, and let the commands after it see that."""
        self.events.extend(later.events)
        self.subjects.extend(later.subjects)
        for records, rows in later.rows.items():
            for key, change in rows.items():
                self.put(records, key, *change)
                loaded.put(records, key, change.row)
