"""The feed as it happens: one reader per client, however many follow."""

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

from application.feed.feed import PAGE, Batch, FeedEvent, FeedQuery, position_before, read_feed
from application.record.ledger import Ledger
from application.shared.errors import Unavailable

log = logging.getLogger(__name__)

# What those who keep up share; whoever is further behind reads the store.
_BUFFERED_EVENTS = 1_000
_BATCH = 100
_RETRY_DELAY_SECONDS = 1
_position = attrgetter("position")


class _Tail:
    """The newest events of a client's ledger, read once for all that follow it.

    end: the position of the newest one. changed: set when there are more, and then replaced.
    """

    def __init__(self) -> None:
        self.events: list[FeedEvent] = []
        self.end: int | None = None
        self.changed = asyncio.Event()
        self.followers = 0

    @property
    def begin(self) -> int:
        """The position after which every event is held."""
        return self.events[0].position - 1 if self.events else self.end or 0

    def after(self, query: FeedQuery, limit: int) -> list[FeedEvent]:
        """Return the first held events that the query asks for."""
        newer = islice(self.events, bisect_right(self.events, query.after, key=_position), None)
        return list(islice((event for event in newer if query.includes(event.type)), limit))

    def add(self, events: Sequence[FeedEvent]) -> None:
        """Take newer events, and tell those who wait."""
        self.events.extend(events)
        if len(self.events) > 2 * _BUFFERED_EVENTS:
            del self.events[:-_BUFFERED_EVENTS]
        self.end = events[-1].position
        self.notify()

    def notify(self) -> None:
        """Wake those who wait."""
        self.changed.set()
        self.changed = asyncio.Event()


class LiveFeed:
    """Lets any number follow the ledgers, on one event loop.

    origin: of the service's ledgers. It reads only what somebody follows, and holds only the newest of that.
    """

    def __init__(self, ledger: Ledger, origin: str) -> None:
        self._ledger = ledger
        self._origin = origin
        self._tails: dict[str, _Tail] = {}
        self._woken = asyncio.Event()
        self._closing = threading.Event()
        self._reading: asyncio.Task[None] | None = None

    async def read(self, query: FeedQuery, limit: int, wait_seconds: float) -> Batch:
        """Return the next events, once there are any or the time is over. Raises PositionUnknown, StoreUnavailable."""
        before = await self.before(query)
        found = await self._read(query, limit)
        if found or not wait_seconds:
            return Batch(before, found, query.after)
        async with aclosing(self.follow(query, before, limit, wait_seconds)) as batches:
            return await anext(batches, Batch(before, (), query.after))

    async def before(self, query: FeedQuery) -> int:
        """Return the position of the event before the first that the query finds.

        Raises PositionUnknown, StoreUnavailable.
        """
        return await asyncio.to_thread(position_before, query, ledger=self._ledger)

    async def follow(
        self, query: FeedQuery, before: int, limit: int = _BATCH, idle_seconds: float = 15
    ) -> AsyncGenerator[Batch]:
        """Yield the next events, at most `limit` together, as they come; none where nothing came for a while.

        before: the position of the event before them. It ends where the service stops. Raises StoreUnavailable.
        """
        loop = asyncio.get_running_loop()
        with self._tail(query.client_ext_id) as tail:
            idle_at = loop.time() + idle_seconds
            while not self._closing.is_set():
                changed = tail.changed
                if tail.end is None:
                    await _wait(changed, idle_seconds)  # for its first reading
                    continue
                end = tail.end
                behind = query.after < tail.begin
                events = await self._read(query, limit) if behind else tail.after(query, limit)
                # Fewer than asked for: what comes next is newer than all there was.
                reached = [event.position for event in events[-1:]] + [end] * (len(events) < limit)
                query = replace(query, after=max(query.after, *reached))
                if events or loop.time() >= idle_at or not await _wait(changed, idle_at - loop.time()):
                    yield Batch(before, events, query.after)
                    before = events[-1].position if events else before
                    idle_at = loop.time() + idle_seconds

    def wake(self) -> None:
        """Look for newer events. Only on the event loop."""
        self._woken.set()

    def stop(self) -> None:
        """End everybody's following. Only on the event loop."""
        self._closing.set()
        self._woken.set()
        for tail in self._tails.values():
            tail.notify()

    async def close(self) -> None:
        """Stop, and give back what was held."""
        self.stop()
        if self._reading:
            await self._reading

    @contextmanager
    def _tail(self, client_ext_id: str) -> Iterator[_Tail]:
        if self._reading is None:
            # In no request's context, since it goes on for others.
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

    async def _read(self, query: FeedQuery, limit: int) -> Sequence[FeedEvent]:
        return await asyncio.to_thread(read_feed, query, limit, ledger=self._ledger, origin=self._origin)

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
                log.warning("the feed is put off: %s", error)
                await asyncio.sleep(_RETRY_DELAY_SECONDS)
                self._woken.set()
            except Exception:
                log.exception("the feed failed and is put off")
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


async def _wait(changed: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return False
    return True
