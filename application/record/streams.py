"""The stream ids and the ledger columns, derived from the events.

A write stores the columns that `columns_of` returns; a check of the record compares them with the stored ones.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain.delivery import ticket_delivery
from domain.delivery.ticket_delivery import DeliveryEvent, delivery_stream_id
from domain.policies import policy_definition
from domain.policies.policy_definition import PolicyDefined, policy_stream_id
from domain.record import access_log
from domain.record.access_log import AccessNoted, access_stream_id
from domain.shared.event import Event
from domain.shared.subject import Subject
from domain.subscriptions import subscription
from domain.subscriptions.subscription import SubscriptionDefined, subscription_stream_id
from domain.tickets import events as tickets
from domain.tickets.events import TicketCreated
from domain.tickets.ticket_credential import stream_id

_MODULES = (tickets, ticket_delivery, policy_definition, access_log, subscription)
EVENTS: dict[str, type[Event]] = {
    event.TOPIC: event
    for module in _MODULES
    for event in vars(module).values()
    if isinstance(event, type) and issubclass(event, Event) and hasattr(event, "TOPIC")
}
"""Every event type by its stored topic."""


class Origin(NamedTuple):
    """The stream of an event, derived from the ids in it, and its subject."""

    stream: UUID
    subject: Subject


class LedgerColumns(NamedTuple):
    """The columns of the ledger that are derived from an event.

    user_ext_id: empty if the event does not concern a single user. occurred: formatted by `column_date`. trace_id: from
    the traceparent, 32 hex digits.
    """

    client_ext_id: str
    stream: UUID
    version: int
    user_ext_id: str
    topic: str
    occurred: str
    actor: str
    trace_id: str


def columns_of(event: Event, subject: Subject) -> LedgerColumns:
    """Return the ledger columns of an event. subject: of its stream, for an event without ids."""
    if origin := origin_of(event):
        subject = origin.subject
    return LedgerColumns(
        subject.client_ext_id,
        event.originator_id,
        event.originator_version,
        subject.user_ext_id,
        type(event).TOPIC,
        column_date(event.timestamp),
        event.actor,
        event.correlation_id[3:35],
    )


def origin_of(event: Event) -> Origin | None:
    """Return the origin of an event, None if it contains no ids; the first event of a stream always contains them."""
    match event:
        case TicketCreated():
            subject = Subject(event.client_ext_id, event.user_ext_id)
            return Origin(stream_id(*subject), subject)
        case DeliveryEvent():
            subject = Subject(event.client_ext_id, event.user_ext_id)
            return Origin(delivery_stream_id(stream_id(*subject), event.ticket_version), subject)
        case AccessNoted():
            subject = Subject(event.client_ext_id, event.user_ext_id)
            return Origin(access_stream_id(event.client_ext_id), subject)
        case PolicyDefined():
            stream = policy_stream_id(event.client_ext_id, event.policy_ext_id)
            return Origin(stream, Subject(event.client_ext_id))
        case SubscriptionDefined():
            stream = subscription_stream_id(event.client_ext_id, event.name)
            return Origin(stream, Subject(event.client_ext_id))
        case _:
            return None


def column_date(moment: datetime) -> str:
    """Return an aware UTC time as text in chronological sort order."""
    return moment.isoformat(timespec="microseconds")
