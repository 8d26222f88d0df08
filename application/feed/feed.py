"""The feed: the events of a client by position."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from application.feed.feed_event import FeedEvent, to_feed_event
from application.record.eras import NO_ERAS, Eras, EventId, PositionNotFound
from application.record.ledger import Ledger
from application.record.objects import objects_of
from application.record.streams import EVENTS

PAGE = 1000
TYPES = tuple(sorted(EVENTS))


@dataclass(frozen=True)
class FeedQuery:
    """A query on a client's feed: the events after a position, of these types (None: all).

    era: the era of the event at `after` as known to the subscriber; None: not checked.
    """

    client_ext_id: str
    after: int = 0
    types: frozenset[str] | None = None
    era: str | None = None

    def includes(self, topic: str) -> bool:
        """Return whether the query includes events of this type."""
        return self.types is None or topic in self.types


class Batch(NamedTuple):
    """Consecutive events of a feed.

    before: the position of the preceding event. seen: the position up to which the feed was searched.
    """

    before: int
    events: Sequence[FeedEvent]
    seen: int

    def with_previous(self, query: FeedQuery) -> Iterable[tuple[FeedEvent, int]]:
        """Return each event with the position of the preceding event.

        In an unfiltered feed that is the preceding position, so that a subscriber detects a gap in the store.
        """
        if query.types is None:
            return [(event, event.position - 1) for event in self.events]
        previous = [self.before, *(event.position for event in self.events)]
        return zip(self.events, previous, strict=False)


def read_feed(
    query: FeedQuery, limit: int, *, ledger: Ledger, origin: str, public_url: str = ""
) -> Sequence[FeedEvent]:
    """Return the next events by position. Raises StoreUnavailable.

    origin: the prefix of the origin of each ledger. public_url: of the service, which serves the schemas; empty: the events
    name no schema.
    """
    if query.types is None:
        entries = ledger.entries(query.client_ext_id, query.after, limit)
    else:
        entries = ledger.entries_of_topics(query.client_ext_id, sorted(query.types), query.after, limit)
    source = f"{origin}/{quote(query.client_ext_id, safe='')}"
    eras = ledger.eras(query.client_ext_id) if entries else NO_ERAS
    events = [ledger.event(entry) for entry in entries]
    objects = objects_of(entries, events, ledger=ledger)
    found = zip(entries, events, objects, strict=True)
    return [to_feed_event(*parts, source, public_url, eras) for parts in found]


def position_before(query: FeedQuery, *, ledger: Ledger) -> int:
    """Return the position of the newest matching event up to `after`; 0: none.

    Raises PositionNotFound if `after` or its era is not in the ledger, StoreUnavailable.
    """
    size = ledger.size(query.client_ext_id)
    if query.after > size:
        raise PositionNotFound(
            f"The ledger of the client ends at position {size}. If you have later events, it was restored: ask its operator."
        )
    if query.era is not None:
        check_in_ledger(EventId(query.after, query.era), ledger.eras(query.client_ext_id))
    if query.types is None:
        return query.after
    return ledger.newest_of_topics(query.client_ext_id, sorted(query.types), query.after)


def check_in_ledger(seen: EventId, eras: Eras) -> None:
    """Raise PositionNotFound if another event has taken the position of this one."""
    if not eras.holds(seen):
        end = eras.end_of(seen.era)
        valid = "" if end is None else f" Your events up to position {end} are valid."
        raise PositionNotFound(
            f"Event {seen} is no longer in the ledger of the client: the ledger was restored.{valid} Ask its operator."
        )
