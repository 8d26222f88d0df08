"""The base class of all events."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, NamedTuple, Self
from uuid import UUID

from eventsourcing.domain import CanMutateAggregate
from eventsourcing.utils import get_topic
from msgspec import UNSET, UnsetType

from domain.shared.commitment import SALT_BYTES, commitment
from domain.shared.subject import Subject


class Origin(NamedTuple):
    """The stream of an event, derived from the ids in it, its subject, and the id or name of its aggregate in the client."""

    stream: UUID
    subject: Subject
    name: str


@dataclass(frozen=True, kw_only=True)
class Event(CanMutateAggregate[UUID]):
    """A fact with its attribution; see Attribution for the fields from `timestamp` to `request_digest`.

    details: the commitment to the reason (domain/shared/commitment.py), which is stored apart from the event, so that it
    can be erased; absent if there is no reason, and from events of release 1.0, whose stored form contains the reason.
    TOPIC: the stored name of the event, which never changes, even if the class is renamed.
    AGGREGATE: the stored name of the kind of stream to which the event belongs.
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
    details: str | UnsetType = UNSET

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "TOPIC" in cls.__dict__:
            get_topic(cls)  # registers the class with the library

    @property
    def origin(self) -> Origin | None:
        """The origin; None: the event contains no ids. The first event of a stream always contains them."""
        return None

    @property
    def ticket(self) -> tuple[UUID, int] | None:
        """The stream and version of the credential that the event concerns; None: it concerns no credential."""
        return None

    @property
    def reason_erased(self) -> bool:
        """Whether the event had a reason that was erased."""
        return self.reason is None and self.details is not UNSET

    def committed(self, salt: bytes) -> Self:
        """Return the event with a commitment to its reason."""
        return replace(self, details=commitment(salt, {"reason": self.reason}))

    def commits_to(self, salt: bytes, reason: str) -> bool:
        """Return whether the event has a commitment to this reason with this salt."""
        return len(salt) == SALT_BYTES and self.details == commitment(salt, {"reason": reason})


@dataclass(frozen=True, kw_only=True)
class UnknownEvent(Event):
    """An event of a later release, without its fields: two releases may share one store (ADR 12)."""
