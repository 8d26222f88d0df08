"""Follow a client's feed beside the server: each event once, in order, as it happens."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from application.feed.feed import PAGE, Batch, FeedQuery, joined, position_before, read_feed
from application.record.eras import EventId
from application.record.ledger import Ledger
from application.shared.errors import Unavailable


class FollowedEvent(NamedTuple):
    """An event with its CloudEvent as JSON."""

    id: EventId
    content: bytes


def follow(
    query: FeedQuery, *, ledger: Ledger, origin: str, tell: Callable[[str], None]
) -> Iterator[FollowedEvent | None]:
    """Yield the events that the query asks for as they come; None whenever there are no more, at least once a second.

    tell: hears once that the store is out of reach, and once that it is back; nothing is passed over meanwhile.
    Raises PositionUnknown, StoreUnavailable where the store is out of reach from the start.
    """
    before = position_before(query, ledger=ledger)
    away = False
    for _ in ledger.commits():
        try:
            if away:
                position_before(query, ledger=ledger)  # it may have been put back
                away = False
                tell("the store is back")
            while events := read_feed(query, PAGE, ledger=ledger, origin=origin):
                batch = Batch(before, events, seen=events[-1].position)
                for event, content in zip(events, joined(query, batch), strict=True):
                    yield FollowedEvent(event.id, content)
                before = batch.seen
                query = replace(query, after=before, era=events[-1].id.era)
        except Unavailable as error:
            if not away:
                away = True
                tell(f"{error}; it is waited for")
        yield None
