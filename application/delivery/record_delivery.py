"""Record what became of a ticket's delivery, and have one tried again."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from application.model.outbox import Trying
from application.transaction.command import Answer, Command, DeliveryKey
from application.transaction.outcomes import Outcome
from application.transaction.ports import Clock
from application.transaction.unit_of_work import UnitOfWork
from domain.delivery.ticket_delivery import (
    Attempt,
    Obsolete,
    TicketDelivered,
    TicketDeliveryEnded,
    TicketDeliveryFailed,
    next_event,
)


@dataclass(frozen=True, kw_only=True)
class RecordDelivery(Command):
    """Keep what became of a delivery.

    attempt: with which the ticket was handed over, or given up; None: it is not sent any more, for what `why` says.
    trying, until: of one that was given up: what was tried, and until when the sealed ticket is kept.
    """

    key_of_delivery: DeliveryKey
    attempt: Attempt | None = None
    delivered: bool = False
    why: Obsolete | None = None
    trying: Trying | None = None
    until: datetime | None = None

    @property
    def delivery(self) -> DeliveryKey:
        """Of which delivery the command is."""
        return self.key_of_delivery


@dataclass(frozen=True, kw_only=True)
class RetryDeliveries(Command):
    """Have what waits for the user, or has failed, tried again now, from its first method on."""


def record_delivery(command: RecordDelivery, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Say what became of a delivery, unless somebody else has said it.

    A sealed ticket that was handed over, or is not sent any more, goes in the same transaction.
    """
    key = command.delivery
    so_far = unit.delivery(key)
    if so_far is None:
        return command.done(Outcome.GONE, None, None)
    say = partial(
        next_event,
        stream=key.stream,
        ticket_version=key.version,
        event_count=so_far,
        client_ext_id=command.subject.client_ext_id,
        user_ext_id=command.subject.user_ext_id,
        by=command.attribution(clock()),
    )
    if command.attempt is None:
        unit.save_delivery(key, say(TicketDeliveryEnded, why=command.why))
    elif command.delivered:
        unit.save_delivery(key, say(TicketDelivered, delivery=command.attempt))
    else:
        failed = say(TicketDeliveryFailed, delivery=command.attempt)
        unit.save_delivery(key, failed, kept=(command.trying or Trying(), command.until))
    return command.done(Outcome.RECORDED, None, None)


def retry_deliveries(command: RetryDeliveries, unit: UnitOfWork) -> Answer:
    """Have the user's tickets tried again. Raises UserUnknown, TicketUnknown."""
    unit.ticket(command.subject)
    unit.retry_deliveries(command.subject)
    return command.done(Outcome.QUEUED, None, None)
