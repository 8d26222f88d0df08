"""The events of one ticket's delivery: its attempts and its outcome.

Stored shapes only grow; see domain/tickets/events.py.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from msgspec.structs import asdict

from domain.policies.policy import SendingMethod
from domain.shared.attribution import Attribution
from domain.shared.event import Event, Origin
from domain.shared.stream_ids import name_based_id
from domain.shared.subject import Subject
from domain.tickets.events import stream_id

AGGREGATE = "TicketDelivery"
_STREAMS = UUID("7d1e0b52-93c4-5a8f-b6d7-41e2f0a9c385")


class Obsolete(StrEnum):
    """The reason why the delivery of a ticket ended without success."""

    REPLACED = "replaced"  # a later reset replaced the ticket
    EXPIRED = "expired"
    ERASED = "erased"  # the user was erased
    DELETED = "deleted"
    ARCHIVED = "archived"
    NOT_SENT = "not-sent"  # the policy's sending method is None


def delivery_stream_id(stream: UUID, version: int) -> UUID:
    """Return the id of the delivery stream of the ticket that this version of the credential minted.

    A separate stream keeps deliveries from changing the version of the credential.
    """
    return name_based_id(_STREAMS, f"{stream}-{version}")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One delivery attempt."""

    method: SendingMethod = field(metadata={"description": "The sending method."})
    attempt: int = field(metadata={"description": "1 for the first attempt."})
    recipient: str | None = field(metadata={"description": "The address, masked; null: unknown."})
    answer: str = field(
        metadata={"description": "The code of the receiving server or of this service, without content."}
    )


@dataclass(frozen=True, kw_only=True)
class DeliveryEvent(Event):
    """An event of a ticket's delivery; any of them may be the first of its stream."""

    AGGREGATE = AGGREGATE
    originator_topic: str = AGGREGATE
    client_ext_id: str
    user_ext_id: str
    ticket_version: int

    @property
    def origin(self) -> Origin:
        """The delivery of the ticket."""
        subject = Subject(self.client_ext_id, self.user_ext_id)
        stream, version = self.ticket
        return Origin(delivery_stream_id(stream, version), subject, f"{stream}-{version}")

    @property
    def ticket(self) -> tuple[UUID, int]:
        """The credential at the version that minted the ticket."""
        return stream_id(self.client_ext_id, self.user_ext_id), self.ticket_version


@dataclass(frozen=True, kw_only=True)
class TicketDelivered(DeliveryEvent):
    """A mail server, a mailer or a printer accepted the ticket."""

    TOPIC = "TicketDelivered"
    delivery: Attempt


@dataclass(frozen=True, kw_only=True)
class TicketDeliveryFailed(DeliveryEvent):
    """Every sending method failed; the delivery can be retried on request."""

    TOPIC = "TicketDeliveryFailed"
    delivery: Attempt


@dataclass(frozen=True, kw_only=True)
class TicketDeliveryEnded(DeliveryEvent):
    """The ticket became obsolete before it was delivered; its sealed copy is deleted."""

    TOPIC = "TicketDeliveryEnded"
    why: Obsolete


@dataclass(frozen=True, kw_only=True)
class TicketDeliveryRetried(DeliveryEvent):
    """A caller requested the delivery again; it begins with the first sending method."""

    TOPIC = "TicketDeliveryRetried"


def next_event(
    event: type[DeliveryEvent],
    *,
    stream: UUID,
    ticket_version: int,
    event_count: int,
    client_ext_id: str,
    user_ext_id: str,
    by: Attribution,
    **fields: Any,
) -> DeliveryEvent:
    """Return the event that follows the first `event_count` events of the delivery."""
    return event(
        originator_id=delivery_stream_id(stream, ticket_version),
        originator_version=event_count + 1,
        client_ext_id=client_ext_id,
        user_ext_id=user_ext_id,
        ticket_version=ticket_version,
        **fields,
        **asdict(by),
    )
