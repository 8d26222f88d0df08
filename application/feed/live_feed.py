"""The live feed: one reader per client serves all followers."""

import asyncio
import logging
import threading
from bisect import bisect_right
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from contextvars import Context
from dataclasses import replace
from itertools import islice
from operator import attrgetter

from application.feed.feed import PAGE, Batch, FeedQuery, position_before, read_feed
from application.feed.feed_event import FeedEvent
from application.feed.formats import CLOUD_EVENTS, Format
from application.record.ledger import Ledger
from application.shared.errors import Unavailable
from application.shared.waiting import is_set_within
from domain.users.user import UserErased

log = logging.getLogger(__name__)

# Followers that are further behind read the store.
_BUFFERED_EVENTS = 1_000
_BATCH = 100
_RETRY_DELAY_SECONDS = 1
_position = attrgetter("position")


class _Tail:
    """A buffer of a client's newest events, shared by its followers.

    end: the position of the newest event. changed: set, then replaced, when events are added.
    """

    def __init__(self) -> None:
        self.events: list[FeedEvent] = []
        self.end: int | None = None
        self.changed = asyncio.Event()
        self.followers = 0

    @property
    def begin(self) -> int:
        """The position after which every event is buffered."""
        return self.events[0].position - 1 if self.events else self.end or 0

    def after(self, query: FeedQuery, limit: int) -> list[FeedEvent]:
        """Return the first buffered events that match the query."""
        newer = islice(self.events, bisect_right(self.events, query.after, key=_position), None)
        return list(islice((event for event in newer if query.includes(event.type)), limit))

    def add(self, events: Sequence[FeedEvent]) -> None:
        """Add newer events and notify the followers. After an erasure, former events are read from the store again."""
        if any(event.type == UserErased.TOPIC for event in events):
            self.events.clear()  # they may have comments that were erased
        self.events.extend(events)
        if len(self.events) > 2 * _BUFFERED_EVENTS:
            del self.events[:-_BUFFERED_EVENTS]
        self.end = events[-1].position
        self.notify()

    def notify(self) -> None:
        """Wake the waiting followers."""
        self.changed.set()
        self.changed = asyncio.Event()


class LiveFeed:
    """Serves any number of followers on one event loop.

    origin, public_url: see `read_feed`. Only followed ledgers are read, and only their newest events buffered.
    """

    def __init__(self, ledger: Ledger, origin: str, public_url: str = "") -> None:
        self._ledger = ledger
        self._origin = origin
        self._public_url = public_url
        self._tails: dict[str, _Tail] = {}
        self._woken = asyncio.Event()
        self._closing = threading.Event()
        self._reading: asyncio.Task[None] | None = None

    async def read(
        self, query: FeedQuery, limit: int, wait_seconds: float, output: Format = CLOUD_EVENTS
    ) -> Batch:
        """Return the next events, or none after a time-out. Raises PositionNotFound, StoreUnavailable.

        output: the format in which the events are encoded by the reading thread instead of the event loop.
        """
        before = await self.before(query)
        found = await self._read(query, limit, output)
        if found or not wait_seconds:
            return Batch(before, found, query.after)
        async with aclosing(self.follow(query, before, limit, wait_seconds)) as batches:
            return await anext(batches, Batch(before, (), query.after))

    async def before(self, query: FeedQuery) -> int:
        """See `position_before`. Raises PositionNotFound, StoreUnavailable."""
        return await asyncio.to_thread(position_before, query, ledger=self._ledger)

    async def follow(
        self, query: FeedQuery, before: int, limit: int = _BATCH, idle_seconds: float = 15
    ) -> AsyncGenerator[Batch]:
        """Yield the next events in batches of at most `limit`; an empty batch after `idle_seconds` without events.

        before: the position of the preceding event. The generator ends when the service stops. Raises StoreUnavailable.
        """
        loop = asyncio.get_running_loop()
        with self._tail(query.client_ext_id) as tail:
            idle_at = loop.time() + idle_seconds
            while not self._closing.is_set():
                changed = tail.changed
                if tail.end is None:
                    await is_set_within(changed, idle_seconds)  # for the first read
                    continue
                end = tail.end
                behind = query.after < tail.begin
                events = await self._read(query, limit) if behind else tail.after(query, limit)
                # Fewer events than the limit: every further event is after `end`.
                reached = [event.position for event in events[-1:]] + [end] * (len(events) < limit)
                query = replace(query, after=max(query.after, *reached))
                if (
                    events
                    or loop.time() >= idle_at
                    or not await is_set_within(changed, idle_at - loop.time())
                ):
                    yield Batch(before, events, query.after)
                    before = events[-1].position if events else before
                    idle_at = loop.time() + idle_seconds

    def wake(self) -> None:
        """Read newer events. Call it on the event loop only."""
        self._woken.set()

    def stop(self) -> None:
        """End every `follow`. Call it on the event loop only."""
        self._closing.set()
        self._woken.set()
        for tail in self._tails.values():
            tail.notify()

    async def close(self) -> None:
        """Stop, and wait until the reader has ended."""
        self.stop()
        if self._reading:
            await self._reading

    @contextmanager
    def _tail(self, client_ext_id: str) -> Iterator[_Tail]:
        if self._reading is None:
            # In an empty context, since the task serves other requests, too.
            self._reading = asyncio.get_running_loop().create_task(
                self._read_continuously(), context=Context()
            )
        tail = self._tails.setdefault(client_ext_id, _Tail())
        tail.followers += 1
        if tail.end is None:
            self.wake()
        try:
            yield tail
        finally:
            tail.followers -= 1
            if not tail.followers:
                del self._tails[client_ext_id]

    async def _read(self, query: FeedQuery, limit: int, output: Format = CLOUD_EVENTS) -> Sequence[FeedEvent]:
        return await asyncio.to_thread(self._read_encoded, query, limit, output)

    def _read_encoded(self, query: FeedQuery, limit: int, output: Format) -> Sequence[FeedEvent]:
        events = read_feed(
            query, limit, ledger=self._ledger, origin=self._origin, public_url=self._public_url
        )
        output.prepare(events)
        return events

    async def _read_continuously(self) -> None:
        watching = threading.Thread(
            target=self._watch, args=(asyncio.get_running_loop(),), name="commits", daemon=True
        )
        watching.start()
        while not self._closing.is_set():
            await self._woken.wait()
            self._woken.clear()
            try:
                await self._read_all()
            except Unavailable as error:
                log.warning("reading the feed failed and will be retried: %s", error)
                await asyncio.sleep(_RETRY_DELAY_SECONDS)
                self._woken.set()
            except Exception:
                log.exception("reading the feed failed and will be retried")
                await asyncio.sleep(_RETRY_DELAY_SECONDS)
                self._woken.set()
        await asyncio.to_thread(watching.join)

    async def _read_all(self) -> None:
        if not self._tails:
            return
        sizes = await asyncio.to_thread(self._ledger.sizes_of, list(self._tails))
        for client, tail in list(self._tails.items()):
            size = sizes.get(client, 0)
            if tail.end is None:
                tail.end = size
                tail.notify()
            while tail.end < size and tail.followers:
                events = await self._read(FeedQuery(client, tail.end), PAGE)
                if not events:
                    break
                tail.add(events)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in self._ledger.commits():
            if self._closing.is_set():
                return
            loop.call_soon_threadsafe(self.wake)
