"""Push every event to the subscribers, in order per subscription, with retries until it is accepted.

Only the process that holds the lease pushes; another process takes over when it dies. Progress is saved with a short
delay, so after a crash the last messages are sent again with the same ids.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from application.feed.feed import Batch, FeedQuery
from application.feed.live_feed import LiveFeed
from application.record.eras import PositionNotFound
from application.shared.errors import SealBroken, Unavailable
from application.shared.ports import Clock, Sealer
from application.shared.retries import Retries
from application.shared.wire import utc_date
from application.subscriptions.records import (
    Progress,
    StoredSubscription,
    SubscriptionHead,
    Subscriptions,
    Target,
    sealed_for,
)
from application.transaction.store import Lease, Store
from domain.subscriptions.subscription import Method, SubscriptionKey

LEASE = "push"
_POLL_INTERVAL_SECONDS = 0.25
_LEASE_INTERVAL_SECONDS = 1
_RETRY_DELAY_SECONDS = 2
_READ_LIMIT = 100

log = logging.getLogger(__name__)


class Message(NamedTuple):
    """A message. id: identical in every retry."""

    id: str
    content: bytes
    media_type: str


class DeliveryRejected(Exception):
    """The receiver did not accept a message. The subscriber sees the error message, so it contains no secret.

    gone: the receiver will never accept a message. retry_after: the minimum delay that the receiver requests.
    """

    def __init__(self, message: str, *, gone: bool = False, retry_after: timedelta = timedelta()) -> None:
        super().__init__(message)
        self.gone = gone
        self.retry_after = retry_after


class Sender(Protocol):
    """Sends messages by one method."""

    def compose(self, subscribed: StoredSubscription, batch: Batch) -> Message:
        """Return the message with these events; the batch is not empty."""

    async def send(self, target: Target, message: Message) -> None:
        """Send a message and wait until it is accepted. Raises DeliveryRejected."""


@dataclass
class Pusher:
    """Pushes events; see the module.

    compose_notice: returns the message for a notice about the subscription itself. park: parks a subscription for a
    reason, if it still has this version.
    """

    store: Store
    subscriptions: Subscriptions
    live: LiveFeed
    sealer: Sealer
    senders: Mapping[Method, Sender]
    compose_notice: Callable[[StoredSubscription, str], Message]
    park: Callable[[SubscriptionKey, int, str], Awaitable[object]]
    retries: Retries
    clock: Clock
    _workers: "dict[SubscriptionKey, _SubscriptionWorker]" = field(default_factory=dict)
    _unsaved: dict[SubscriptionKey, tuple[int, Progress]] = field(default_factory=dict)
    _notices: "set[asyncio.Task[None]]" = field(default_factory=set)

    async def run(self) -> None:
        """Push while this process holds the lease; runs until cancelled."""
        while True:
            try:
                async with self._lease() as lease:
                    if lease:
                        await self._push_while(lease)
            except Unavailable as error:
                log.warning("pushing failed and will be retried: %s", error)
            except Exception:
                log.exception("pushing failed and will be retried")
            await asyncio.sleep(_LEASE_INTERVAL_SECONDS)

    def record_progress(self, head: SubscriptionHead, progress: Progress) -> None:
        """Record the progress of a subscription; `keep` saves it."""
        self._unsaved[head.key] = (head.version, progress)

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[Lease | None]:
        async with AsyncExitStack() as stack:
            context = self.store.lease(LEASE)
            lease = await asyncio.to_thread(context.__enter__)
            stack.push_async_callback(asyncio.to_thread, context.__exit__, None, None, None)
            yield lease

    async def _push_while(self, lease: Lease) -> None:
        try:
            while await asyncio.to_thread(lease.holds):
                await self._update_workers(await asyncio.to_thread(self.subscriptions.subscription_heads))
                await self.keep()
                await asyncio.sleep(_POLL_INTERVAL_SECONDS)
            log.warning("lost the lease; another process continues pushing")
        finally:
            await self._end(list(self._workers))
            with suppress(Unavailable):
                await self.keep()

    async def _update_workers(self, heads: Sequence[SubscriptionHead]) -> None:
        """Stop the workers of changed subscriptions, and start those of new ones and of failed ones due for a retry."""
        wanted = {head.key: head for head in heads}
        kept = (key for key, worker in self._workers.items() if worker.is_current(wanted.get(key)))
        await self._end(list(self._workers.keys() - set(kept)))
        for head in heads:
            if head.key not in self._workers:
                self._workers[head.key] = _SubscriptionWorker(self, head)
            if head.notice:
                await self._begin_notice(head)

    async def _end(self, keys: Sequence[SubscriptionKey]) -> None:
        tasks = [self._workers.pop(key).task for key in keys]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def keep(self) -> None:
        """Save the recorded progress. Raises Unavailable."""
        kept = [(key, version, progress) for key, (version, progress) in self._unsaved.items()]
        if kept:
            self._unsaved.clear()
            await asyncio.to_thread(self.subscriptions.save_progress, kept)

    async def _begin_notice(self, head: SubscriptionHead) -> None:
        """Send a notice once, without retries: the receiver can also query its content."""
        await asyncio.to_thread(self.subscriptions.delete_notice, head.key, head.notice)
        task = asyncio.create_task(self._send_notice(head))
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    async def _send_notice(self, head: SubscriptionHead) -> None:
        try:
            subscribed = await asyncio.to_thread(self.subscriptions.subscription, head.key)
            if subscribed is not None:
                sender = self.senders[subscribed.row.terms.method]
                await sender.send(self.open_target(subscribed), self.compose_notice(subscribed, head.notice))
        except (DeliveryRejected, SealBroken, Unavailable) as error:
            log.warning("a notice of %s was not accepted: %s", _label(head.key), error)

    def open_target(self, subscribed: StoredSubscription) -> Target:
        """Return the target of a subscription. Raises SealBroken."""
        return Target.of_secret(self.sealer.unseal(subscribed.sealed, sealed_for(subscribed.row.key)))


class _SubscriptionWorker:
    """Pushes to one subscription at one version.

    It ends when the subscription changes or is parked; after a failure it is replaced after a delay.
    """

    def __init__(self, pusher: Pusher, head: SubscriptionHead) -> None:
        self._pusher = pusher
        self._head = head
        self._progress = Progress(acknowledged=0)
        self._restart_at: float | None = None
        self.task = asyncio.create_task(self._run())

    def is_current(self, head: SubscriptionHead | None) -> bool:
        """Return whether the subscription is unchanged and no restart is due."""
        restart = self._restart_at is not None and asyncio.get_running_loop().time() >= self._restart_at
        return head is not None and head.version == self._head.version and not restart

    async def _run(self) -> None:
        try:
            await self._send_all()
        except Unavailable as error:
            log.warning("pushing to %s failed and will be retried: %s", _label(self._head.key), error)
        except Exception:
            log.exception("pushing to %s failed and will be retried", _label(self._head.key))
        else:
            return
        self._restart_at = asyncio.get_running_loop().time() + _RETRY_DELAY_SECONDS

    async def _send_all(self) -> None:
        pusher, key = self._pusher, self._head.key
        subscribed = await asyncio.to_thread(pusher.subscriptions.subscription, key)
        if subscribed is None or subscribed.row.version != self._head.version:
            return
        self._progress, terms = subscribed.progress, subscribed.row.terms
        types = None if terms.types is None else frozenset(terms.types)
        query = FeedQuery(key.client_ext_id, self._progress.acknowledged, types)
        try:
            target, before = pusher.open_target(subscribed), await pusher.live.before(query)
        except (SealBroken, PositionNotFound) as error:
            await self._park(str(error))
            return
        sender = pusher.senders[terms.method]
        async with aclosing(pusher.live.follow(query, before, _READ_LIMIT, idle_seconds=1)) as batches:
            async for batch in batches:
                for part in _parts(batch, terms.batch_size):
                    if part.events and not await self._send_until_accepted(
                        sender, target, sender.compose(subscribed, part)
                    ):
                        return
                    if part.seen > self._progress.acknowledged:
                        self._record_progress(replace(self._progress, acknowledged=part.seen))

    async def _send_until_accepted(self, sender: Sender, target: Target, message: Message) -> bool:
        """Send a message with retries until it is accepted; False: the subscription was parked."""
        while True:
            await self._wait_for_the_next_try()
            try:
                await sender.send(target, message)
            except DeliveryRejected as refusal:
                if not await self._put_off(refusal):
                    return False
            else:
                acknowledged = self._progress.acknowledged
                self._progress = Progress(acknowledged=acknowledged, last_success=self._pusher.clock())
                return True

    async def _wait_for_the_next_try(self) -> None:
        if self._progress.next_try:
            await asyncio.sleep((self._progress.next_try - self._pusher.clock()).total_seconds())

    async def _put_off(self, refusal: DeliveryRejected) -> bool:
        """Schedule the next attempt; False: the subscription was parked instead."""
        retries, now = self._pusher.retries, self._pusher.clock()
        failures, since = self._progress.failures + 1, self._progress.failing_since or now
        next_try = now + max(retries.delay(failures), min(refusal.retry_after, retries.longest))
        self._record_progress(
            replace(
                self._progress,
                failures=failures,
                failing_since=since,
                last_error=str(refusal),
                next_try=next_try,
            )
        )
        if refusal.gone:
            await self._park(str(refusal))
        elif next_try - since >= retries.give_up_after:
            await self._park(f"{failures} failures since {utc_date(since)}: {refusal}")
        else:
            return True
        return False

    async def _park(self, reason: str) -> None:
        log.warning("%s is parked: %s", _label(self._head.key), reason)
        await self._pusher.keep()  # before parking changes the version
        await self._pusher.park(self._head.key, self._head.version, reason)

    def _record_progress(self, progress: Progress) -> None:
        self._progress = progress
        self._pusher.record_progress(self._head, progress)


def _parts(batch: Batch, size: int) -> Iterator[Batch]:
    """Split a batch into batches of at most `size` events; the last one carries `seen`."""
    before, events = batch.before, batch.events
    for begin in range(0, max(1, len(events)), size):
        part = events[begin : begin + size]
        is_last = begin + size >= len(events)
        yield Batch(before, part, batch.seen if is_last else part[-1].position)
        before = part[-1].position if part else before


def _label(key: SubscriptionKey) -> str:
    return f"subscription {key.name!r} of client {key.client_ext_id!r}"
