"""What every event of this service is."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from eventsourcing.domain import CanMutateAggregate


@dataclass(frozen=True, kw_only=True)
class Event(CanMutateAggregate[UUID]):
    """A fact with who, why and by which request; see Attribution for the last six fields.

    TOPIC: the name under which it is stored, which never changes; its class may have another.
    """

    TOPIC: ClassVar[str]
    originator_id: UUID
    originator_version: int
    timestamp: datetime
    actor: str
    reason: str | None
    correlation_id: str
    command_id: str
    request_digest: str


@dataclass(frozen=True, kw_only=True)
class UnknownEvent(Event):
    """An event of a later release, without its details: two releases may use one store (ADR 12)."""
