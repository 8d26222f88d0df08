"""What every event of this service is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from eventsourcing.domain import CanMutateAggregate
from eventsourcing.utils import get_topic


@dataclass(frozen=True, kw_only=True)
class Event(CanMutateAggregate[UUID]):
    """A fact with who, why and by which request; see Attribution for the last six fields.

    TOPIC: the name under which it is stored, which never changes; its class may have another.
    AGGREGATE: the kind of stream to which it belongs, likewise stored.
    """

    TOPIC: ClassVar[str]
    AGGREGATE: ClassVar[str]
    originator_id: UUID
    originator_version: int
    timestamp: datetime
    actor: str
    reason: str | None
    correlation_id: str
    command_id: str
    request_digest: str

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "TOPIC" in cls.__dict__:
            get_topic(cls)  # registers it with the library

    def apply(self, aggregate: Any) -> None:
        """Evolve the aggregate's state."""
        aggregate.state = aggregate.evolve(aggregate.state, self)


@dataclass(frozen=True, kw_only=True)
class UnknownEvent(Event):
    """An event of a later release, without its details: two releases may use one store (ADR 12)."""
