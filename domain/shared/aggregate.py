"""The base class of aggregates; the state of an aggregate is the row that is stored and read."""

from datetime import UTC, datetime
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar
from uuid import UUID

from eventsourcing.domain import BaseAggregate
from msgspec.structs import asdict

from domain.shared.attribution import Attribution
from domain.shared.event import Event


class Versioned(Protocol):
    """The common properties of every state."""

    @property
    def key(self) -> tuple[str, str]:
        """The identity of the aggregate: its client, and an id in the client."""

    @property
    def version(self) -> int:
        """The version of the newest event."""

    @property
    def last_modified(self) -> datetime:
        """The time of the newest event."""


State = TypeVar("State", bound=Versioned)
_NO_EVENT_YET = datetime.min.replace(tzinfo=UTC)


class Aggregate(BaseAggregate[UUID], Generic[State]):
    """Decides on its state and emits events; only `evolve` changes the state (ADR 13).

    TOPIC: the stored name of the aggregate, as in the AGGREGATE of its events. A public method of a subclass checks its
    rules, then emits at most one event.
    """

    TOPIC: ClassVar[str]

    def __init__(self) -> None:
        # Only declared; `at` sets it. Without this method the library generates an initialiser.
        self.state: State | None

    @classmethod
    def at(cls, stream: UUID, state: State | None) -> Self:
        """Return the aggregate in the given state (None: before its first event), without replaying its stream."""
        aggregate = cls.__new__(cls)
        version, time = (state.version, state.last_modified) if state else (0, _NO_EVENT_YET)
        aggregate.__base_init__(stream, version, time)
        aggregate.state = state
        return aggregate

    @classmethod
    def of(cls, key: Any, state: Any) -> "Aggregate[Any]":
        """Return the aggregate with this key in the given state; None: before its first event."""
        raise NotImplementedError

    @property
    def current(self) -> State:
        """The state. Raises LookupError before the first event."""
        if self.state is None:
            raise LookupError("the aggregate has no events")
        return self.state

    @staticmethod
    def evolve(state: Any, event: Event) -> Any:
        """Apply the event to the state and return the new state; overridden by each aggregate."""
        raise NotImplementedError

    def emit(self, event: type[Event], *, by: Attribution, **fields: Any) -> None:
        """Number the next event, and evolve the state by it."""
        version = self.version + 1
        new = event(originator_id=self.id, originator_version=version, **fields, **asdict(by))
        self.state = self.evolve(self.state, new)
        self.version, self.modified_on = version, new.timestamp
        self.pending_events.append(new)
