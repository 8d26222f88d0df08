"""Publish every event to a broker, in order per client; resumes after failures and restarts."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass, field
from typing import cast

from application.feed.backoff import Backoff
from application.feed.broker import Broker, BrokerUnavailable, Cursor, OutOfSync
from application.feed.feed import FeedQuery, check_in_ledger, read_feed
from application.record.eras import PositionNotFound
from application.record.ledger import Ledger
from application.shared.errors import Unavailable
from application.transaction.store import Lease, Store
from domain.record.installation import INSTALLATION

log = logging.getLogger(__name__)

# Small, since a client waits for the pages of other clients that are published concurrently.
_PAGE = 100
_MAX_CONCURRENT_CLIENTS = 16
_LEASE_INTERVAL_SECONDS = 1


async def publish(
    *,
    store: Store,
    ledger: Ledger,
    broker: Broker,
    open_cursor: Callable[[], AbstractContextManager[Cursor]],
    target: str,
    origin: str,
    public_url: str,
    clients: Collection[str],
    backoff: Backoff,
) -> None:
    """Publish until `backoff.stop` is set; failures of the store or the broker are retried.

    target: the name of the destination; one process at a time publishes to it. origin, public_url: see `read_feed`.
    clients: empty for all except the installation. Raises PositionNotFound if the broker is ahead of a ledger.
    """
    name = f"publish-{hashlib.sha256(target.encode()).hexdigest()[:16]}"
    leading = True

    async def attempt() -> None:
        nonlocal leading
        with store.lease(name) as lease:
            if lease:
                with open_cursor() as cursor:
                    await broker.connect()
                    log.info("publishing to %s", target)
                    await _Session(lease, ledger, broker, cursor, origin, public_url, clients, backoff).run()
            elif leading:
                log.info("another process publishes to %s; waiting until it ends", target)
            leading = lease is not None
        if not leading:
            await backoff.pause(_LEASE_INTERVAL_SECONDS)

    try:
        while not backoff.stop.is_set():
            try:
                await attempt()
            except (Unavailable, BrokerUnavailable) as error:
                await backoff.wait(error)
    finally:
        await broker.close()


@dataclass
class _Session:
    """Publishing over one connection; any failure ends the session, and the next one reads the positions again."""

    lease: Lease
    ledger: Ledger
    broker: Broker
    cursor: Cursor
    origin: str
    public_url: str
    clients: Collection[str]
    backoff: Backoff
    published: dict[str, int] = field(default_factory=dict)
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MAX_CONCURRENT_CLIENTS))

    async def run(self) -> None:
        """Publish existing and new events until `stop` is set or the lease is lost."""
        async with aclosing(_commits(self.ledger)) as commits:
            async for _ in commits:
                published = 1
                while published:
                    if self.backoff.stop.is_set():
                        return
                    if not await asyncio.to_thread(self.lease.holds):
                        log.warning("lost the lease; another process continues publishing")
                        return
                    published = await self._publish_pages()

    async def _publish_pages(self) -> int:
        """Publish the next page of every client that has new events. Returns the number of events."""
        sizes = await asyncio.to_thread(self.ledger.sizes)
        behind = [
            client
            for client, size in sizes
            if self._is_chosen(client) and self.published.get(client, -1) < size
        ]
        try:
            async with asyncio.TaskGroup() as tasks:
                pages = [tasks.create_task(self._publish_page(client)) for client in behind]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            await asyncio.to_thread(self.cursor.keep)
        self.backoff.reset()
        return sum(page.result() for page in pages)

    def _is_chosen(self, client: str) -> bool:
        return client in self.clients if self.clients else client != INSTALLATION.client_ext_id

    async def _publish_page(self, client: str) -> int:
        async with self.places:
            if self.backoff.stop.is_set():
                return 0
            if client not in self.published:
                self.published[client] = await self._begin(client)
            query = FeedQuery(client, self.published[client])
            events = await asyncio.to_thread(
                read_feed,
                query,
                _PAGE,
                ledger=self.ledger,
                origin=self.origin,
                public_url=self.public_url,
            )
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
                " It was restored: publishing stops until the operator has decided which events are valid."
            )
        try:
            check_in_ledger(last, await asyncio.to_thread(self.ledger.eras, client))
        except PositionNotFound as error:
            raise PositionNotFound(
                f"Client {client!r} was published up to position {last}. {error}"
                " Publishing stops until the operator has decided which events are valid."
            ) from None
        return last.position


async def _commits(ledger: Ledger) -> AsyncGenerator[None]:
    """Yield whenever something may have been committed, and at least once a second."""
    loop = asyncio.get_running_loop()
    commits = ledger.commits()
    # A single thread, since the generator's resources are bound to its thread.
    with ThreadPoolExecutor(1, "commits") as thread:
        try:
            while True:
                await loop.run_in_executor(thread, next, commits)
                yield
        finally:
            thread.submit(cast("Generator[None]", commits).close)
