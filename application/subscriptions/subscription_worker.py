"""Push to one subscription: in order, with retries until each message is accepted."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import aclosing

from msgspec.structs import replace

from application.feed.feed import Batch, FeedQuery
from application.record.eras import PositionNotFound
from application.shared.errors import SealBroken, Unavailable
from application.shared.faults import log_fault
from application.shared.wire import utc_date
from application.subscriptions.push_ports import DeliveryRejected, Message, PushPorts, Sender, label
from application.subscriptions.records import Progress, SubscriptionHead, Subscriptions, Target
from domain.subscriptions.subscription import SubscriptionKey

_RETRY_DELAY_SECONDS = 2
_READ_LIMIT = 100

log = logging.getLogger(__name__)


class ProgressRecorder:
    """Records the progress of all subscriptions, and saves it in one transaction."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self._subscriptions = subscriptions
        self._unsaved: dict[SubscriptionKey, tuple[int, Progress]] = {}

    def record(self, head: SubscriptionHead, progress: Progress) -> None:
        """Record the progress of a subscription."""
        self._unsaved[head.key] = (head.version, progress)

    async def save(self) -> None:
        """Save the recorded progress. Raises Unavailable."""
        unsaved = [(key, version, progress) for key, (version, progress) in self._unsaved.items()]
        if unsaved:
            self._unsaved.clear()
            await asyncio.to_thread(self._subscriptions.save_progress, unsaved)


class SubscriptionWorker:
    """Pushes to one subscription at one version.

    It ends when the subscription changes or is parked; after a failure it is replaced after a delay.
    """

    def __init__(self, ports: PushPorts, recorder: ProgressRecorder, head: SubscriptionHead) -> None:
        self._ports = ports
        self._recorder = recorder
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
            log.warning("pushing to %s failed and will be retried: %s", label(self._head.key), error)
        except Exception:
            log.exception("pushing to %s failed and will be retried", label(self._head.key))
        else:
            return
        self._restart_at = asyncio.get_running_loop().time() + _RETRY_DELAY_SECONDS

    async def _send_all(self) -> None:
        ports, key = self._ports, self._head.key
        subscribed = await asyncio.to_thread(ports.subscriptions.subscription, key)
        if subscribed is None or subscribed.row.version != self._head.version:
            return
        self._progress, terms = subscribed.progress, subscribed.row.terms
        types = None if terms.types is None else frozenset(terms.types)
        query = FeedQuery(key.client_ext_id, self._progress.acknowledged, types)
        try:
            target, before = ports.open_target(subscribed), await ports.live.before(query)
        except (SealBroken, PositionNotFound) as error:
            await self._park(str(error))
            return
        sender = ports.senders[terms.method]
        async with aclosing(ports.live.follow(query, before, _READ_LIMIT, idle_seconds=1)) as batches:
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
            await self._wait_for_next_try()
            try:
                await _send(sender, target, message)
            except DeliveryRejected as refusal:
                if not await self._schedule_retry(refusal):
                    return False
            else:
                acknowledged = self._progress.acknowledged
                self._progress = Progress(acknowledged=acknowledged, last_success=self._ports.clock())
                return True

    async def _wait_for_next_try(self) -> None:
        if self._progress.next_try:
            await asyncio.sleep((self._progress.next_try - self._ports.clock()).total_seconds())

    async def _schedule_retry(self, refusal: DeliveryRejected) -> bool:
        """Schedule the next attempt; False: the subscription was parked instead."""
        retries, now = self._ports.retries, self._ports.clock()
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
        log.warning("%s is parked: %s", label(self._head.key), reason)
        await self._recorder.save()  # before parking changes the version
        await self._ports.park(self._head.key, self._head.version, reason)

    def _record_progress(self, progress: Progress) -> None:
        self._progress = progress
        self._recorder.record(self._head, progress)


async def _send(sender: Sender, target: Target, message: Message) -> None:
    """Send a message. Raises DeliveryRejected for any fault, so that a response that no parser accepts is a failed attempt."""
    try:
        await sender.send(target, message)
    except DeliveryRejected:
        raise
    except Exception as error:  # noqa: BLE001 - the response is foreign: a parser can raise any exception for it
        log_fault(log, "a message cannot be sent", error)
        raise DeliveryRejected(
            f"internal error ({type(error).__name__}); see the log of the service"
        ) from None


def _parts(batch: Batch, size: int) -> Iterator[Batch]:
    """Split a batch into batches of at most `size` events; the last one carries `seen`."""
    before, events = batch.before, batch.events
    for begin in range(0, max(1, len(events)), size):
        part = events[begin : begin + size]
        is_last = begin + size >= len(events)
        yield Batch(before, part, batch.seen if is_last else part[-1].position)
        before = part[-1].position if part else before
