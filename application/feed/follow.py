"""Follow a client's feed without the server: each event once and in order."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import starmap
from typing import NamedTuple

from application.feed.feed import PAGE, Batch, FeedQuery, position_before, read_feed
from application.feed.feed_event import FeedEvent
from application.record.ledger import Ledger
from application.shared.errors import Unavailable


class FollowedEvent(NamedTuple):
    """An event with the position of the preceding event."""

    event: FeedEvent
    previous: int


def follow(
    query: FeedQuery, *, ledger: Ledger, origin: str, public_url: str, notify: Callable[[str], None]
) -> Iterator[FollowedEvent | None]:
    """Yield the matching events as they are committed; None when there are no more, at least once a second.

    origin, public_url: see `read_feed`. notify: receives one message when the store becomes unreachable and one when it
    is back; no event is skipped.
    Raises PositionNotFound, and StoreUnavailable if the store is unreachable at the start.
    """
    before = position_before(query, ledger=ledger)
    unreachable = False
    for _ in ledger.commits():
        try:
            if unreachable:
                position_before(query, ledger=ledger)  # the store may have been restored
                unreachable = False
                notify("the store is reachable again")
            while events := read_feed(query, PAGE, ledger=ledger, origin=origin, public_url=public_url):
                batch = Batch(before, events, seen=events[-1].position)
                yield from starmap(FollowedEvent, batch.with_previous(query))
                before = batch.seen
                query = replace(query, after=before, era=events[-1].id.era)
        except Unavailable as error:
            if not unreachable:
                unreachable = True
                notify(f"{error}; retrying")
        yield None
