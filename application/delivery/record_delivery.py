"""Record the outcome of a delivery, and request a retry."""

from collections.abc import Sequence
from datetime import datetime

from application.delivery.outbox import DELIVERIES, DeliveryKey, DeliveryProgress, OutboxStatus, RetryState
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
    TicketDeliveryRetried,
    next_event,
)
from domain.tickets.events import stream_id


class RecordDelivery(Command, frozen=True, kw_only=True):
    """Record the outcome of a delivery.

    event_count: of the delivery when the attempt began. attempt: the last attempt; None: the ticket is obsolete, `why` is the
    reason. retry_state, until: of a failed delivery; the sealed ticket is kept until then.
    """

    delivery_key: DeliveryKey
    event_count: int = 0
    attempt: Attempt | None = None
    delivered: bool = False
    why: Obsolete | None = None
    retry_state: RetryState | None = None
    until: datetime | None = None

    def loads(self) -> Sequence[Load]:
        """Return the progress of the deliveries of the credential."""
        return [Load(DELIVERIES, self.delivery_key[:2])]


class RetryDeliveries(TicketCommand, frozen=True, kw_only=True):
    """Retry the queued and failed tickets of the user now, starting with their first method, to the current address."""

    def loads(self) -> Sequence[Load]:
        """Return the rows of a command about the ticket, and the progress of its deliveries."""
        return [
            *super().loads(),
            Load(DELIVERIES, (self.subject.client_ext_id, stream_id(*self.subject))),
        ]


def record_delivery(command: RecordDelivery, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Record the outcome of a delivery, unless another process has recorded one, or it failed and a retry was requested since.

    The sealed ticket is deleted in the same transaction, unless the delivery failed.
    """
    key = command.delivery_key
    progress = unit.get(DELIVERIES, key)
    if progress is None:
        return command.done(Outcome.GONE, None, None)
    if command.attempt and not command.delivered and progress.event_count != command.event_count:
        return command.done(Outcome.QUEUED, None, None)
    if command.attempt is None:
        event = _event(TicketDeliveryEnded, command, key, progress, clock, why=command.why)
    else:
        kind = TicketDelivered if command.delivered else TicketDeliveryFailed
        event = _event(kind, command, key, progress, clock, delivery=command.attempt)
    unit.append([event], command.subject)
    if isinstance(event, TicketDeliveryFailed):
        retry_state = command.retry_state or RetryState()
        failed = DeliveryProgress(event.originator_version, OutboxStatus.FAILED, retry_state, command.until)
        unit.put(DELIVERIES, key, failed)
    else:
        unit.remove(DELIVERIES, key)
    return command.done(Outcome.RECORDED, None, None)


def retry_deliveries(command: RetryDeliveries, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Request a retry of each of the user's deliveries that is not over. Raises UserNotFound, TicketNotFound.

    The daily limit does not apply, since a ticket that was sent is not sent again.
    """
    ticket(unit, command.subject)
    retry_state = RetryState(address_version=user(unit, command.subject).addressed_at)
    stream = stream_id(*command.subject)
    for key, progress in list(unit.all(DELIVERIES).items()):
        if key.stream == stream:
            event = _event(TicketDeliveryRetried, command, key, progress, clock)
            unit.append([event], command.subject)
            unit.put(DELIVERIES, key, DeliveryProgress(event.originator_version, retry_state=retry_state))
    return command.done(Outcome.QUEUED, None, None)


def _event(
    kind: type[DeliveryEvent],
    command: Command,
    key: DeliveryKey,
    progress: DeliveryProgress,
    clock: Clock,
    **fields: object,
) -> DeliveryEvent:
    return next_event(
        kind,
        stream=key.stream,
        ticket_version=key.version,
        event_count=progress.event_count,
        client_ext_id=command.subject.client_ext_id,
        user_ext_id=command.subject.user_ext_id,
        by=command.attribution(clock()),
        **fields,
    )
