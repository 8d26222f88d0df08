"""The unit of work of one command."""

from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

from application.transaction.records import Changes, Key, LoadedState, RecordSet, Row
from domain.shared.aggregate import Aggregate, Versioned
from domain.shared.event import Event
from domain.shared.subject import Subject

State = TypeVar("State", bound=Versioned)


class UnitOfWork:
    """The loaded rows and the changes of one command.

    Rows are immutable, so dropping `changes` undoes a failed command.
    """

    def __init__(self, loaded: LoadedState) -> None:
        self._loaded = loaded
        self.changes = Changes()

    def get(self, records: RecordSet[Key, Row], key: Key) -> Row | None:
        """Return a row, including own changes; None: it does not exist. Raises RowRefused."""
        changed = self.changes.rows.get(records)
        change = changed.get(key) if changed else None
        return change.row if change else self._loaded.get(records, key)

    def all(self, records: RecordSet[Key, Row]) -> Mapping[Key, Row]:
        """Return every loaded row of a record set that is not refused, without own changes."""
        return self._loaded.all(records)

    def of_client(self, records: RecordSet[Key, Row], client_ext_id: str) -> Mapping[Key, Row]:
        """Return every loaded row of a client, without own changes. Raises RowRefused."""
        return self._loaded.of_client(records, client_ext_id)

    def put(self, records: RecordSet[Key, Row], key: Key, row: Row) -> None:
        """Add or replace a row."""
        self.changes.put(records, key, self._loaded.get(records, key), row)

    def remove(self, records: RecordSet[Key, Row], key: Key) -> None:
        """Remove a row."""
        self.changes.put(records, key, self._loaded.get(records, key), None)

    def append(self, events: Sequence[Event], subject: Subject) -> None:
        """Append events of a subject."""
        self.changes.append(events, subject)

    def save(
        self, records: RecordSet[Key, State], key: Key, aggregate: Aggregate[State], subject: Subject
    ) -> State:
        """Append the pending events of an aggregate and put its state. Returns the state."""
        state, events = aggregate.current, cast("list[Event]", aggregate.collect_events())
        if events:
            self.append(events, subject)
            self.put(records, key, state)
        return state
