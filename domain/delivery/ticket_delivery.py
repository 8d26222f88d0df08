"""The delivery of one ticket: what was tried to bring it to its user, and what came of it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from eventsourcing.domain import BaseAggregate, CanInitAggregate

from domain.policies.policy import SendingMethod
from domain.shared.attribution import Attribution
from domain.shared.event import Event as _Event

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

    A stream of its own, so that a mail does not move the credential's version (design, 5c).
    """
    return uuid5(_STREAMS, f"{stream}-{version}")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What was tried. recipient: so masked that it is nobody's address. answer: the server's code, or ours; no content."""

    method: SendingMethod
    attempt: int
    recipient: str | None
    answer: str


class TicketDelivery(BaseAggregate[UUID]):
    """The delivery of the ticket of a credential that the event of a version minted."""

    TOPIC = "TicketDelivery"

    def __init__(self) -> None:
        """Nothing: the first event begins the stream."""

    # The same rule as for the events of a credential: stored shapes only grow.

    @dataclass(frozen=True, kw_only=True)
    class Event(_Event, CanInitAggregate[UUID]):
        """Something that became of a ticket; each may be the first of its stream."""

        originator_topic: str
        client_ext_id: str
        user_ext_id: str
        ticket_version: int

        def mutate(self, aggregate: Any) -> Any:
            """Begin or go on."""
            return super().mutate(None) if aggregate is None else _Event.mutate(self, aggregate)

    @dataclass(frozen=True, kw_only=True)
    class TicketDelivered(Event):
        """The ticket was handed over: to a mail server, a mailer or a printer."""

        TOPIC = "TicketDelivered"
        delivery: Attempt

    @dataclass(frozen=True, kw_only=True)
    class TicketDeliveryFailed(Event):
        """It was tried for long enough, or cannot be; somebody may have it tried again."""

        TOPIC = "TicketDeliveryFailed"
        delivery: Attempt

    @dataclass(frozen=True, kw_only=True)
    class TicketDeliveryEnded(Event):
        """The ticket is not sent any more, and no longer kept."""

        TOPIC = "TicketDeliveryEnded"
        why: Obsolete

    @classmethod
    def say(
        cls,
        event: type[Event],
        *,
        stream: UUID,
        ticket_version: int,
        so_far: int,
        client_ext_id: str,
        user_ext_id: str,
        by: Attribution,
        **said: Any,
    ) -> Event:
        """Return the event that follows so many others (0: there is none yet)."""
        return event(
            originator_id=delivery_stream_id(stream, ticket_version),
            originator_version=so_far + 1,
            originator_topic=cls.TOPIC,
            client_ext_id=client_ext_id,
            user_ext_id=user_ext_id,
            ticket_version=ticket_version,
            **said,
            **vars(by),
        )
