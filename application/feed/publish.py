"""Publish every event to a broker, in order per client, going on where it was whatever happened in between."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, aclosing, suppress
from dataclasses import dataclass, field
from typing import Protocol, cast

from application.feed.feed import FeedEvent, FeedQuery, check_in_ledger, read_feed
from application.record.eras import EventId
from application.record.ledger import Ledger
from application.shared.errors import PositionNotFound, Unavailable
from application.shared.ports import Randomness
from application.transaction.store import Lease, Store

log = logging.getLogger(__name__)

# Small enough that no client waits long for the page of another, which is published at the same time.
_PAGE = 100
_CLIENTS_AT_ONCE = 16
_SHORTEST_WAIT_MS = 500
_LONGEST_WAIT_MS = 30_000
_LEASE_ASKED_EVERY_SECONDS = 1


class BrokerUnavailable(Exception):
    """The broker is out of reach, refuses, or has not acknowledged in time."""


class OutOfSync(Exception):
    """The broker's newest event of a client is not the one that was published last: it must be asked anew."""


class Broker(Protocol):
    """Where events are published. Every method but close raises BrokerUnavailable."""

    async def connect(self) -> None:
        """Be ready, over a new connection where the one before failed."""

    async def newest(self, client_ext_id: str) -> EventId | None:
        """Return the newest event of a client that it holds; None where it cannot tell."""

    async def publish(self, client_ext_id: str, events: Sequence[FeedEvent]) -> None:
        """Hand over events that follow each other; when it returns, the broker has acknowledged all of them.

        Where it fails, some may be stored, but of one credential none without those before it. Raises OutOfSync.
        """

    async def close(self) -> None:
        """Give back the connection."""


class Cursor(Protocol):
    """The event of each client up to which everything was published, kept across crashes."""

    def last(self, client_ext_id: str) -> EventId:
        """Return the event; position 0 where nothing was published."""

    def move(self, client_ext_id: str, event: EventId) -> None:
        """Note that this event was published."""

    def keep(self) -> None:
        """Bring to the disk what was noted. Raises StoreUnavailable."""


class Backoff:
    """Waits before the next try, longer each time and never quite as long as another process, until told to stop."""

    def __init__(self, stop: asyncio.Event, randomness: Randomness) -> None:
        self.stop = stop
        self._randomness = randomness
        self._failures = 0

    def reset(self) -> None:
        """Begin with short waits again."""
        self._failures = 0

    async def wait(self, error: Exception) -> None:
        """Say what is waited for, and wait."""
        longest = min(_LONGEST_WAIT_MS, _SHORTEST_WAIT_MS << self._failures)
        seconds = (longest - self._randomness.below(longest // 2)) / 1000
        self._failures = min(self._failures + 1, _LONGEST_WAIT_MS.bit_length())
        log.warning("%s; the next try is in %.1f s", error, seconds)
        await self.pause(seconds)

    async def pause(self, seconds: float) -> None:
        """Wait for so long, or until told to stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stop.wait()


async def publish(
    *,
    store: Store,
    ledger: Ledger,
    broker: Broker,
    open_cursor: Callable[[], AbstractContextManager[Cursor]],
    target: str,
    origin: str,
    clients: Collection[str],
    patience: Backoff,
) -> None:
    """Publish until told to stop; where something is out of reach, wait for it and go on.

    target: names where to; one process at a time publishes there. clients: whose events; none: everybody's.
    Raises PositionNotFound where the broker is further than a ledger.
    """
    name = f"publish-{hashlib.sha256(target.encode()).hexdigest()[:16]}"
    alone = True
    try:
        while not patience.stop.is_set():
            try:
                with store.lease(name) as lease:
                    if lease:
                        with open_cursor() as cursor:
                            await broker.connect()
                            log.info("publishing to %s", target)
                            await _Session(lease, ledger, broker, cursor, origin, clients, patience).run()
                    elif alone:
                        log.info("another process publishes to %s: waiting until it ends", target)
                    alone = lease is not None
                if not alone:
                    await patience.pause(_LEASE_ASKED_EVERY_SECONDS)
            except (Unavailable, BrokerUnavailable) as error:
                await patience.wait(error)
    finally:
        await broker.close()


@dataclass
class _Session:
    """Publishing over one connection: whatever fails ends it, and the next one asks anew where to go on."""

    lease: Lease
    ledger: Ledger
    broker: Broker
    cursor: Cursor
    origin: str
    clients: Collection[str]
    patience: Backoff
    published: dict[str, int] = field(default_factory=dict)
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CLIENTS_AT_ONCE))

    async def run(self) -> None:
        """Publish what there is and what comes, until told to stop, or another may publish."""
        async with aclosing(_commits(self.ledger)) as commits:
            async for _ in commits:
                published = 1
                while published:
                    if self.patience.stop.is_set():
                        return
                    if not await asyncio.to_thread(self.lease.holds):
                        log.warning("the lease is lost: who holds it now goes on")
                        return
                    published = await self._publish_pages()

    async def _publish_pages(self) -> int:
        """Publish the next page of every client that has one. Returns how many events that were."""
        sizes = await asyncio.to_thread(self.ledger.sizes)
        behind = [
            client
            for client, size in sizes
            if (not self.clients or client in self.clients) and self.published.get(client, -1) < size
        ]
        try:
            async with asyncio.TaskGroup() as tasks:
                pages = [tasks.create_task(self._publish_page(client)) for client in behind]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            await asyncio.to_thread(self.cursor.keep)
        self.patience.reset()
        return sum(page.result() for page in pages)

    async def _publish_page(self, client: str) -> int:
        async with self.places:
            if self.patience.stop.is_set():
                return 0
            if client not in self.published:
                self.published[client] = await self._begin(client)
            query = FeedQuery(client, self.published[client])
            events = await asyncio.to_thread(read_feed, query, _PAGE, ledger=self.ledger, origin=self.origin)
            if not events:
                return 0
            try:
                await self.broker.publish(client, events)
            except OutOfSync as error:
                log.warning("%s", error)
                del self.published[client]
                return 0
            self.published[client] = events[-1].position
            self.cursor.move(client, events[-1].id)
            return len(events)

    async def _begin(self, client: str) -> int:
        last = await self.broker.newest(client)
        if last is None:
            last = self.cursor.last(client)
        size = await asyncio.to_thread(self.ledger.size, client)
        if last.position > size:
            raise PositionNotFound(
                f"Client {client!r} was published up to position {last}, but its ledger ends at {size}."
                " It was put back: nothing more is published before its operator has said what holds."
            )
        try:
            check_in_ledger(last, await asyncio.to_thread(self.ledger.eras, client))
        except PositionNotFound as error:
            raise PositionNotFound(
                f"Client {client!r} was published up to position {last}. {error}"
                " Nothing more is published before its operator has said what holds."
            ) from None
        return last.position


async def _commits(ledger: Ledger) -> AsyncGenerator[None]:
    """Yield whenever something may have been committed, and at least once a second."""
    loop = asyncio.get_running_loop()
    commits = ledger.commits()
    # One thread, since what the generator holds is of the thread that began it.
    with ThreadPoolExecutor(1, "commits") as thread:
        try:
            while True:
                await loop.run_in_executor(thread, next, commits)
                yield
        finally:
            thread.submit(cast("Generator[None]", commits).close)
