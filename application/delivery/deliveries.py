"""The delivery status of a user's tickets, for the helpdesk."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing, suppress
from enum import StrEnum
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from application.delivery.masking import masked
from application.delivery.outbox import Outbox, OutboxStatus, PendingDelivery
from application.feed.feed import FeedQuery
from application.feed.live_feed import LiveFeed
from application.record.ledger import Ledger
from application.shared.wire import Count, UtcDate, utc_date
from domain.delivery.ticket_delivery import (
    DeliveryEvent,
    TicketDelivered,
    TicketDeliveryEnded,
    TicketDeliveryFailed,
)
from domain.policies.policy import SendingMethod
from domain.shared.subject import Subject

TOPICS = (
    TicketDelivered.TOPIC,
    TicketDeliveryFailed.TOPIC,
    TicketDeliveryEnded.TOPIC,
)

_ATTEMPTS = (TicketDelivered, TicketDeliveryFailed)
_NEWEST = 10


class DeliveryStatus(StrEnum):
    """The delivery status of a ticket."""

    QUEUED = "queued"
    SENT = "sent"
    FAILED = "failed"
    ENDED = "ended"


_STATUS: dict[type[DeliveryEvent], DeliveryStatus] = {
    TicketDelivered: DeliveryStatus.SENT,
    TicketDeliveryFailed: DeliveryStatus.FAILED,
    TicketDeliveryEnded: DeliveryStatus.ENDED,
}


class TicketDeliveryItem(TypedDict):
    """The delivery of a ticket."""

    ticketVersion: Annotated[
        Count, Field(description="The version of the credential at which the ticket was minted.")
    ]
    status: Annotated[
        DeliveryStatus,
        Field(
            description="`queued`: awaits an attempt; `sent`: was accepted; `failed`: every method failed, a retry is possible"
            " until the ticket expires; `ended`: is obsolete."
        ),
    ]
    time: Annotated[UtcDate | None, Field(description="Time of the status change.")]
    method: Annotated[SendingMethod | None, Field(description="The sending method.")]
    attempt: Annotated[Count, Field(description="Number of attempts.")]
    recipient: Annotated[str | None, Field(description="Masked address.", examples=["u***@e***.com"])]
    answer: Annotated[str | None, Field(description="Response code of the receiver.", examples=["250"])]
    lastError: Annotated[str | None, Field(description="Error of the last attempt.")]
    nextTry: Annotated[UtcDate | None, Field(description="Time of the next attempt.")]
    why: Annotated[
        str | None, Field(description="Reason for the end of the delivery.", examples=["replaced"])
    ]


def read_deliveries(
    subject: Subject, limit: int, *, outbox: Outbox, ledger: Ledger
) -> Sequence[TicketDeliveryItem]:
    """Return the delivery status of a user's newest tickets, newest first. Raises StoreUnavailable."""
    # The outbox is read first, so that a ticket delivered in between is found in both and counts as delivered.
    pending = {found.entry.version: found for found in outbox.pending(subject)}
    recorded = _newest_events(subject, limit, ledger)
    versions = sorted(pending.keys() | recorded.keys(), reverse=True)[:limit]
    return [_item(version, pending.get(version), recorded.get(version)) for version in versions]


def _newest_events(subject: Subject, limit: int, ledger: Ledger) -> dict[int, DeliveryEvent]:
    """Return the newest delivery event of up to `limit` tickets; a ticket may have many events."""
    count = 2 * limit
    while True:
        entries = ledger.newest_of_user(subject, TOPICS, count)
        newest: dict[int, DeliveryEvent] = {}
        for event in map(ledger.event, entries):
            if isinstance(event, DeliveryEvent):
                newest.setdefault(event.ticket_version, event)
        if len(newest) >= limit or len(entries) < count:
            return newest
        count *= 4


async def wait_for_status(
    subject: Subject, version: int, seconds: float, *, outbox: Outbox, ledger: Ledger, live: LiveFeed
) -> TicketDeliveryItem | None:
    """Return the delivery of the ticket that was minted at a version, as soon as it is final, or after a time-out.

    None: no ticket is delivered for this version. Raises StoreUnavailable.
    """
    client = subject.client_ext_id

    def find() -> TicketDeliveryItem | None:
        found = read_deliveries(subject, _NEWEST, outbox=outbox, ledger=ledger)
        return next((item for item in found if item["ticketVersion"] == version), None)

    query = FeedQuery(client, await asyncio.to_thread(ledger.size, client), frozenset(TOPICS))
    item = await asyncio.to_thread(find)
    with suppress(TimeoutError, StopAsyncIteration):
        async with asyncio.timeout(seconds), aclosing(live.follow(query, query.after)) as batches:
            while item and item["status"] is DeliveryStatus.QUEUED:
                batch = await anext(batches)
                if any(event.user_ext_id == subject.user_ext_id for event in batch.events):
                    item = await asyncio.to_thread(find)
    return item


def _item(version: int, pending: PendingDelivery | None, event: DeliveryEvent | None) -> TicketDeliveryItem:
    over = pending is None or not isinstance(event, TicketDeliveryFailed)
    if event and (over or (pending and pending.status is OutboxStatus.FAILED)):
        return _event_item(version, event, pending)
    if pending is None:
        raise ValueError("no such delivery")
    retry_state, entry = pending.retry_state, pending.entry
    method = entry.methods[retry_state.method]
    return {
        "ticketVersion": version,
        "status": DeliveryStatus.QUEUED,
        "time": utc_date(entry.minted),
        "method": method,
        "attempt": retry_state.attempts,
        "recipient": masked(pending.recipient, method) if pending.recipient else None,
        "answer": None,
        "lastError": retry_state.last_error,
        "nextTry": utc_date(pending.next_try),
        "why": None,
    }


def _event_item(version: int, event: DeliveryEvent, pending: PendingDelivery | None) -> TicketDeliveryItem:
    attempt = event.delivery if isinstance(event, _ATTEMPTS) else None
    return {
        "ticketVersion": version,
        "status": _STATUS[type(event)],
        "time": utc_date(event.timestamp),
        "method": attempt.method if attempt else None,
        "attempt": attempt.attempt if attempt else 0,
        "recipient": attempt.recipient if attempt else None,
        "answer": attempt.answer if attempt else None,
        "lastError": pending.retry_state.last_error
        if pending and isinstance(event, TicketDeliveryFailed)
        else None,
        "nextTry": None,
        "why": event.why if isinstance(event, TicketDeliveryEnded) else None,
    }
