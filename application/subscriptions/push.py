"""Push: every event to those who subscribed, in order for each, again and again until it is taken.

One process at a time pushes, the one that holds the lease; another takes over when it dies. What was taken is kept a
moment later, so after a crash the last few are sent again, under the same ids.
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
from application.shared.errors import PositionNotFound, SealBroken, Unavailable
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
_LEASE_EVERY_SECONDS = 1
_AGAIN_AFTER_SECONDS = 2
_READ_AT_ONCE = 100

log = logging.getLogger(__name__)


class Message(NamedTuple):
    """What is sent. id: the same whenever the same is sent again."""

    id: str
    content: bytes
    media_type: str


class DeliveryRejected(Exception):
    """A message that the receiver did not take; what it says is shown to the subscriber, and holds no secret.

    gone: the receiver will never take one. retry_after: when it wants the next try, at the earliest.
    """

    def __init__(self, said: str, *, gone: bool = False, retry_after: timedelta = timedelta()) -> None:
        super().__init__(said)
        self.gone = gone
        self.retry_after = retry_after


class Sender(Protocol):
    """Brings messages to receivers, by one method."""

    def compose(self, subscribed: StoredSubscription, batch: Batch) -> Message:
        """Return the message with these events, of which there is at least one."""

    async def send(self, target: Target, message: Message) -> None:
        """Hand over a message; when this returns, it is taken. Raises DeliveryRejected."""


@dataclass
class Pusher:
    """Pushes; see the module.

    compose_notice: returns the message that says something about a subscription itself. park: ends the sending to a
    subscription, as long as it is of this version, for a reason.
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
    _sendings: "dict[SubscriptionKey, _Sending]" = field(default_factory=dict)
    _reached: dict[SubscriptionKey, tuple[int, Progress]] = field(default_factory=dict)
    _notices: "set[asyncio.Task[None]]" = field(default_factory=set)

    async def run(self) -> None:
        """Push for as long as this process holds the lease, and wait for it else; until cancelled."""
        while True:
            try:
                async with self._lease() as lease:
                    if lease:
                        await self._push_while(lease)
            except Unavailable as error:
                log.warning("pushing is put off: %s", error)
            except Exception:
                log.exception("pushing failed and is put off")
            await asyncio.sleep(_LEASE_EVERY_SECONDS)

    def reach(self, head: SubscriptionHead, progress: Progress) -> None:
        """Take down how far a subscriber got; it is kept in a moment, with that of the others."""
        self._reached[head.key] = (head.version, progress)

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
                await self._adjust(await asyncio.to_thread(self.subscriptions.subscription_heads))
                await self.keep()
                await asyncio.sleep(_POLL_INTERVAL_SECONDS)
            log.warning("the lease is lost; who holds it now goes on pushing")
        finally:
            await self._end(list(self._sendings))
            with suppress(Unavailable):
                await self.keep()

    async def _adjust(self, heads: Sequence[SubscriptionHead]) -> None:
        """End what is of another version by now, and begin what is new, or failed a while ago."""
        wanted = {head.key: head for head in heads}
        kept = (key for key, sending in self._sendings.items() if sending.goes_on(wanted.get(key)))
        await self._end(list(self._sendings.keys() - set(kept)))
        for head in heads:
            if head.key not in self._sendings:
                self._sendings[head.key] = _Sending(self, head)
            if head.notice:
                await self._begin_notice(head)

    async def _end(self, keys: Sequence[SubscriptionKey]) -> None:
        tasks = [self._sendings.pop(key).task for key in keys]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def keep(self) -> None:
        """Keep how far each subscriber got since the last time. Raises Unavailable."""
        kept = [(key, version, progress) for key, (version, progress) in self._reached.items()]
        if kept:
            self._reached.clear()
            await asyncio.to_thread(self.subscriptions.save_progress, kept)

    async def _begin_notice(self, head: SubscriptionHead) -> None:
        """Send a notice, once: it says what a receiver can also ask for."""
        await asyncio.to_thread(self.subscriptions.delete_notice, head.key, head.notice)
        task = asyncio.create_task(self._send_notice(head))
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    async def _send_notice(self, head: SubscriptionHead) -> None:
        try:
            subscribed = await asyncio.to_thread(self.subscriptions.subscription, head.key)
            if subscribed is not None:
                sender = self.senders[subscribed.row.terms.method]
                await sender.send(self.opened(subscribed), self.compose_notice(subscribed, head.notice))
        except (DeliveryRejected, SealBroken, Unavailable) as error:
            log.warning("a notice of %s was not taken: %s", _named(head.key), error)

    def opened(self, subscribed: StoredSubscription) -> Target:
        """Return where a subscription goes to. Raises SealBroken."""
        return Target.of_secret(self.sealer.unseal(subscribed.sealed, sealed_for(subscribed.row.key)))


class _Sending:
    """The sending to one subscriber, for as long as the subscription is of one version.

    It ends by itself where nothing more is sent to that version; where it failed, it is begun again in a while.
    """

    def __init__(self, pusher: Pusher, head: SubscriptionHead) -> None:
        self._pusher = pusher
        self._head = head
        self._progress = Progress(acknowledged=0)
        self._again_at: float | None = None
        self.task = asyncio.create_task(self._run())

    def goes_on(self, head: SubscriptionHead | None) -> bool:
        """Tell whether this is still the sending to the subscription as it is now."""
        again = self._again_at is not None and asyncio.get_running_loop().time() >= self._again_at
        return head is not None and head.version == self._head.version and not again

    async def _run(self) -> None:
        try:
            await self._send_on()
        except Unavailable as error:
            log.warning("pushing to %s is put off: %s", _named(self._head.key), error)
        except Exception:
            log.exception("pushing to %s failed and is put off", _named(self._head.key))
        else:
            return
        self._again_at = asyncio.get_running_loop().time() + _AGAIN_AFTER_SECONDS

    async def _send_on(self) -> None:
        pusher, key = self._pusher, self._head.key
        subscribed = await asyncio.to_thread(pusher.subscriptions.subscription, key)
        if subscribed is None or subscribed.row.version != self._head.version:
            return
        self._progress, terms = subscribed.progress, subscribed.row.terms
        types = None if terms.types is None else frozenset(terms.types)
        query = FeedQuery(key.client_ext_id, self._progress.acknowledged, types)
        try:
            target, before = pusher.opened(subscribed), await pusher.live.before(query)
        except (SealBroken, PositionNotFound) as error:
            await self._park(str(error))
            return
        sender = pusher.senders[terms.method]
        async with aclosing(pusher.live.follow(query, before, _READ_AT_ONCE, idle_seconds=1)) as batches:
            async for batch in batches:
                for part in _parts(batch, terms.batch_size):
                    if part.events and not await self._taken(
                        sender, target, sender.compose(subscribed, part)
                    ):
                        return
                    if part.seen > self._progress.acknowledged:
                        self._reach(replace(self._progress, acknowledged=part.seen))

    async def _taken(self, sender: Sender, target: Target, message: Message) -> bool:
        """Send a message until it is taken; False: it was given up."""
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
        """Set when the next try is; False: there is none, and the subscription is parked."""
        retries, now = self._pusher.retries, self._pusher.clock()
        failures, since = self._progress.failures + 1, self._progress.failing_since or now
        next_try = now + max(retries.wait(failures), min(refusal.retry_after, retries.longest))
        self._reach(
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
            await self._park(f"tried {failures} times since {utc_date(since)}: {refusal}")
        else:
            return True
        return False

    async def _park(self, reason: str) -> None:
        log.warning("%s is parked: %s", _named(self._head.key), reason)
        await self._pusher.keep()  # while it still is of this version
        await self._pusher.park(self._head.key, self._head.version, reason)

    def _reach(self, progress: Progress) -> None:
        self._progress = progress
        self._pusher.reach(self._head, progress)


def _parts(batch: Batch, size: int) -> Iterator[Batch]:
    """Cut a batch into such of at most so many events; what was seen behind the last of them goes with it."""
    before, events = batch.before, batch.events
    for begin in range(0, max(1, len(events)), size):
        part = events[begin : begin + size]
        whole = begin + size >= len(events)
        yield Batch(before, part, batch.seen if whole else part[-1].position)
        before = part[-1].position if part else before


def _named(key: SubscriptionKey) -> str:
    return f"subscription {key.name!r} of client {key.client_ext_id!r}"
