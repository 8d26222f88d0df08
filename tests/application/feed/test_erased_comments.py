"""A live feed displays no comment that was erased."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from application.feed.feed import FeedQuery
from application.feed.feed_event import FeedEvent
from application.feed.live_feed import LiveFeed
from application.tickets.erase_user import EraseUser
from tests.support.fakes import SUBJECT
from tests.support.service import Service, command, service_over
from tests.support.stores import temporary_store

CLIENT = SUBJECT.client_ext_id


async def followed(live: LiveFeed, after: int, topic: str) -> Sequence[FeedEvent]:
    """Return the events after a position up to one of this type."""
    events: list[FeedEvent] = []
    async with asyncio.timeout(30), aclosing(live.follow(FeedQuery(CLIENT, after), 0)) as batches:
        while not any(event.type == topic for event in events):
            events += (await anext(batches)).events
    return events


async def read_before_and_after(service: Service) -> tuple[Sequence[FeedEvent], Sequence[FeedEvent]]:
    live, size = LiveFeed(service.store, "tickets"), service.store.size(CLIENT)
    try:
        # A follower that remains keeps the newest events in memory.
        async with aclosing(live.follow(FeedQuery(CLIENT), 0)) as remaining:
            await anext(remaining)
            await asyncio.to_thread(service.regenerate, reason="letter lost")
            before = await followed(live, size, "TicketRegenerated")
            await asyncio.to_thread(service.execute, command(EraseUser))
            while "UserErased" not in {event.type for event in (await anext(remaining)).events}:
                pass
            return before, await followed(live, size, "UserErased")
    finally:
        await live.close()


def test_a_comment_in_memory_is_erased_with_its_user() -> None:
    with temporary_store() as store, service_over(store) as service:
        service.register()
        service.create()
        before, after = asyncio.run(read_before_and_after(service))

    [shown] = [event for event in before if event.type == "TicketRegenerated"]
    [erased] = [event for event in after if event.type == "TicketRegenerated"]
    assert (shown.reason, shown.reason_erased) == ("letter lost", False)
    assert (erased.reason, erased.reason_erased) == (None, True)
