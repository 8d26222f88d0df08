"""Record the outcome of a delivery, and request a retry."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from application.delivery.outbox import DELIVERIES, RETRY_REQUESTS, DeliveryKey, DeliveryProgress, RetryState
from application.shared.ports import Clock
from application.tickets.records import TicketCommand, ticket
from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from application.transaction.records import Load
from application.transaction.unit_of_work import UnitOfWork
from application.users.records import user
from domain.delivery.ticket_delivery import (
    Attempt,
    DeliveryEvent,
    Obsolete,
    TicketDelivered,
    TicketDeliveryEnded,
    TicketDeliveryFailed,
    next_event,
)


@dataclass(frozen=True, kw_only=True)
class RecordDelivery(Command):
    """Record the outcome of a delivery.

    attempt: the last attempt; None: the ticket is obsolete, `why` is the reason. retry_state, until: of a failed delivery;
    the sealed ticket is kept until then.
    """

    delivery_key: DeliveryKey
    attempt: Attempt | None = None
    delivered: bool = False
    why: Obsolete | None = None
    retry_state: RetryState | None = None
    until: datetime | None = None

    def loads(self) -> Sequence[Load]:
        """Return the progress of the delivery."""
        return [Load(DELIVERIES, self.delivery_key)]


@dataclass(frozen=True, kw_only=True)
class RetryDeliveries(TicketCommand):
    """Retry the queued and failed tickets of the user now, starting with their first method, to the current address."""


def record_delivery(command: RecordDelivery, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Record the outcome of a delivery, unless another process has recorded one.

    The sealed ticket is deleted in the same transaction, unless the delivery failed.
    """
    key = command.delivery_key
    progress = unit.get(DELIVERIES, key)
    if progress is None:
        return command.done(Outcome.GONE, None, None)
    event = _event(command, progress.event_count, clock)
    unit.append([event], command.subject)
    if isinstance(event, TicketDeliveryFailed):
        failed = DeliveryProgress(
            event.originator_version, command.retry_state or RetryState(), command.until
        )
        unit.put(DELIVERIES, key, failed)
    else:
        unit.remove(DELIVERIES, key)
    return command.done(Outcome.RECORDED, None, None)


def _event(command: RecordDelivery, event_count: int, clock: Clock) -> DeliveryEvent:
    key = command.delivery_key
    following = partial(
        next_event,
        stream=key.stream,
        ticket_version=key.version,
        event_count=event_count,
        client_ext_id=command.subject.client_ext_id,
        user_ext_id=command.subject.user_ext_id,
        by=command.attribution(clock()),
    )
    if command.attempt is None:
        return following(TicketDeliveryEnded, why=command.why)
    return following(TicketDelivered if command.delivered else TicketDeliveryFailed, delivery=command.attempt)


def retry_deliveries(command: RetryDeliveries, unit: UnitOfWork) -> Answer:
    """Request a retry of the user's deliveries. Raises UserNotFound, TicketNotFound."""
    ticket(unit, command.subject)
    address_version = user(unit, command.subject).addressed_at
    unit.put(RETRY_REQUESTS, command.subject, RetryState(address_version=address_version))
    return command.done(Outcome.QUEUED, None, None)
