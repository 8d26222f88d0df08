"""What became of a user's tickets on their way, for the helpdesk."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing, suppress
from enum import StrEnum
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from application.delivery.outbox import Outbox, OutboxStatus, PendingDelivery
from application.feed.feed import FeedQuery
from application.feed.live_feed import LiveFeed
from application.record.ledger import Ledger
from application.shared.masking import masked
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
    """Where a ticket is on its way."""

    QUEUED = "queued"
    SENT = "sent"
    FAILED = "failed"
    ENDED = "ended"


class TicketDeliveryItem(TypedDict):
    """The delivery of a ticket, in short."""

    ticketVersion: Annotated[
        Count, Field(description="The version of the credential that the ticket came with.")
    ]
    status: Annotated[
        DeliveryStatus,
        Field(
            description="`queued`: is tried, or will be; `sent`: was handed over; `failed`: was given up, and is kept for a"
            " retry until the ticket ends; `ended`: is not sent any more."
        ),
    ]
    time: Annotated[
        UtcDate | None, Field(description="Since when: when it was minted, sent, given up or ended.")
    ]
    method: Annotated[SendingMethod | None, Field(description="By which it is, or was, sent.")]
    attempt: Annotated[Count, Field(description="How often it was tried.")]
    recipient: Annotated[str | None, Field(description="Where to, masked.", examples=["u***@e***.com"])]
    answer: Annotated[str | None, Field(description="The code that was answered.", examples=["250"])]
    lastError: Annotated[str | None, Field(description="Why the last try failed.")]
    nextTry: Annotated[UtcDate | None, Field(description="When it is tried again.")]
    why: Annotated[str | None, Field(description="Why it is not sent any more.", examples=["replaced"])]


def read_deliveries(
    subject: Subject, limit: int, *, outbox: Outbox, ledger: Ledger
) -> Sequence[TicketDeliveryItem]:
    """Return what became of a user's newest tickets, the newest first. Raises StoreUnavailable."""
    # First what waits: what is delivered meanwhile is then found as both, and was delivered.
    waiting = {found.entry.version: found for found in outbox.waiting(subject)}
    said = _newest_said(subject, limit, ledger)
    versions = sorted(waiting.keys() | said.keys(), reverse=True)[:limit]
    return [_item(version, waiting.get(version), said.get(version)) for version in versions]


def _newest_said(subject: Subject, limit: int, ledger: Ledger) -> dict[int, DeliveryEvent]:
    """Return the last word on so many tickets, if there are; one that failed often has many events."""
    count = 2 * limit
    while True:
        entries = ledger.newest_of_user(subject, TOPICS, count)
        said: dict[int, DeliveryEvent] = {}
        for event in map(ledger.event, entries):
            if isinstance(event, DeliveryEvent):
                said.setdefault(event.ticket_version, event)
        if len(said) >= limit or len(entries) < count:
            return said
        count *= 4


async def wait_for_status(
    subject: Subject, version: int, seconds: float, *, outbox: Outbox, ledger: Ledger, live: LiveFeed
) -> TicketDeliveryItem | None:
    """Return what has become of the ticket that came with a version, once it is over or so many seconds are.

    None where none is sent. Raises StoreUnavailable.
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


def _item(version: int, waiting: PendingDelivery | None, said: DeliveryEvent | None) -> TicketDeliveryItem:
    over = waiting is None or not isinstance(said, TicketDeliveryFailed)
    if said and (over or (waiting and waiting.standing is OutboxStatus.FAILED)):
        return _said(version, said, waiting)
    if waiting is None:
        raise ValueError("there is no such delivery")
    trying, entry = waiting.trying, waiting.entry
    method = entry.methods[trying.method]
    return {
        "ticketVersion": version,
        "status": DeliveryStatus.QUEUED,
        "time": utc_date(entry.minted),
        "method": method,
        "attempt": trying.attempts,
        "recipient": masked(waiting.recipient, method) if waiting.recipient else None,
        "answer": None,
        "lastError": trying.last_error,
        "nextTry": utc_date(waiting.next_try),
        "why": None,
    }


def _said(version: int, said: DeliveryEvent, waiting: PendingDelivery | None) -> TicketDeliveryItem:
    attempt = said.delivery if isinstance(said, _ATTEMPTS) else None
    failed = isinstance(said, TicketDeliveryFailed)
    ended = isinstance(said, TicketDeliveryEnded)
    return {
        "ticketVersion": version,
        "status": DeliveryStatus.FAILED if failed else DeliveryStatus.ENDED if ended else DeliveryStatus.SENT,
        "time": utc_date(said.timestamp),
        "method": attempt.method if attempt else None,
        "attempt": attempt.attempt if attempt else 0,
        "recipient": attempt.recipient if attempt else None,
        "answer": attempt.answer if attempt else None,
        "lastError": waiting.trying.last_error if waiting and failed else None,
        "nextTry": None,
        "why": said.why if isinstance(said, TicketDeliveryEnded) else None,
    }
