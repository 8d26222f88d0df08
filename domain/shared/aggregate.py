"""An aggregate whose whole state is the row that is stored and read."""

from datetime import UTC, datetime
from typing import Any, Generic, Protocol, Self, TypeVar
from uuid import UUID

from eventsourcing.domain import BaseAggregate

from domain.shared.attribution import Attribution
from domain.shared.event import Event


class Versioned(Protocol):
    """What a state has, whatever it is of."""

    @property
    def version(self) -> int:
        """The version of the newest event behind it."""

    @property
    def last_modified(self) -> datetime:
        """The time of that event."""


State = TypeVar("State", bound=Versioned)
_NO_EVENT_YET = datetime.min.replace(tzinfo=UTC)


class Aggregate(BaseAggregate[UUID], Generic[State]):
    """Decides on its state, and emits events; `evolve` alone changes the state (ADR 13).

    A subclass's public method checks, then emits at most one event.
    """

    def __init__(self) -> None:
        # Declared only, for `at` sets it: the library would else generate an initialiser.
        self.state: State | None

    @classmethod
    def at(cls, stream: UUID, state: State | None) -> Self:
        """Return the aggregate in a state; None: before its first event. The length of its history does not matter."""
        aggregate = cls.__new__(cls)
        version, time = (state.version, state.last_modified) if state else (0, _NO_EVENT_YET)
        aggregate.__base_init__(stream, version, time)
        aggregate.state = state
        return aggregate

    @property
    def current(self) -> State:
        """The state of an aggregate that has begun."""
        if self.state is None:
            raise LookupError("the aggregate has no events")
        return self.state

    @staticmethod
    def evolve(state: Any, event: Event) -> Any:
        """Return the state after the event; each aggregate has its own."""
        raise NotImplementedError

    def emit(self, event: type[Event], *, by: Attribution, **fields: Any) -> None:
        """Trigger the next event."""
        self.trigger_event(event, **fields, **vars(by))
