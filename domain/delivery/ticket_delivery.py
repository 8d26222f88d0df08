"""The delivery of one ticket: the events of its attempts and of its outcome.

Stored shapes only grow; see domain/tickets/events.py.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from domain.policies.policy import SendingMethod
from domain.shared.attribution import Attribution
from domain.shared.event import Event

AGGREGATE = "TicketDelivery"
_STREAMS = UUID("7d1e0b52-93c4-5a8f-b6d7-41e2f0a9c385")


class Obsolete(StrEnum):
    """Why a ticket is not sent any more."""

    REPLACED = "replaced"  # by a newer reset
    EXPIRED = "expired"
    ERASED = "erased"  # its user
    DELETED = "deleted"
    ARCHIVED = "archived"
    NOT_SENT = "not-sent"  # by the policy, whose method is None


def delivery_stream_id(stream: UUID, version: int) -> UUID:
    """Return the id of the stream of the delivery of the ticket that the event of this version minted.

    A stream of its own, so that a mail does not move the credential's version.
    """
    return uuid5(_STREAMS, f"{stream}-{version}")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What was tried. recipient: so masked that it is nobody's address. answer: the server's code, or ours; no content."""

    method: SendingMethod
    attempt: int
    recipient: str | None
    answer: str


@dataclass(frozen=True, kw_only=True)
class DeliveryEvent(Event):
    """Something that happened to the delivery of a ticket; each may be the first of its stream."""

    AGGREGATE = AGGREGATE
    originator_topic: str = AGGREGATE
    client_ext_id: str
    user_ext_id: str
    ticket_version: int


@dataclass(frozen=True, kw_only=True)
class TicketDelivered(DeliveryEvent):
    """The ticket was handed over: to a mail server, a mailer or a printer."""

    TOPIC = "TicketDelivered"
    delivery: Attempt


@dataclass(frozen=True, kw_only=True)
class TicketDeliveryFailed(DeliveryEvent):
    """No method succeeded in time, or none can; somebody may have it tried again."""

    TOPIC = "TicketDeliveryFailed"
    delivery: Attempt


@dataclass(frozen=True, kw_only=True)
class TicketDeliveryEnded(DeliveryEvent):
    """The ticket is no longer sent, and no longer kept."""

    TOPIC = "TicketDeliveryEnded"
    why: Obsolete


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
    """Return the event that follows `event_count` others of the delivery."""
    return event(
        originator_id=delivery_stream_id(stream, ticket_version),
        originator_version=event_count + 1,
        client_ext_id=client_ext_id,
        user_ext_id=user_ext_id,
        ticket_version=ticket_version,
        **fields,
        **vars(by),
    )
