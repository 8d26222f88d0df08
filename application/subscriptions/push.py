"""Push every event to the subscribers, in order per subscription, with retries until it is accepted.

Only the process that holds the lease pushes; another process takes over when it dies. Progress is saved with a short
delay, so after a crash the last messages are sent again with the same ids.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from application.shared.errors import SealBroken, Unavailable
from application.subscriptions.push_ports import DeliveryRejected, Message, PushPorts, label
from application.subscriptions.records import (
    StoredSubscription,
    SubscriptionHead,
)
from application.subscriptions.subscription_worker import ProgressRecorder, SubscriptionWorker
from application.transaction.leased_work import work_under_lease
from application.transaction.store import Lease, Store
from domain.subscriptions.subscription import SubscriptionKey

LEASE = "push"
_POLL_INTERVAL_SECONDS = 0.25

log = logging.getLogger(__name__)


@dataclass
class Pusher:
    """Pushes events; see the module.

    compose_notice: returns the message for a notice about the subscription itself.
    """

    store: Store
    ports: PushPorts
    compose_notice: Callable[[StoredSubscription, str], Message]

    def __post_init__(self) -> None:
        self._recorder = ProgressRecorder(self.ports.subscriptions)
        self._workers: dict[SubscriptionKey, SubscriptionWorker] = {}
        self._notices: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Push while this process holds the lease; runs until cancelled."""
        await work_under_lease(self.store, LEASE, self._push_while, "pushing", log)

    async def _push_while(self, lease: Lease) -> None:
        try:
            while await asyncio.to_thread(lease.holds):
                await self._update_workers(
                    await asyncio.to_thread(self.ports.subscriptions.subscription_heads)
                )
                await self._recorder.save()
                await asyncio.sleep(_POLL_INTERVAL_SECONDS)
            log.warning("lost the lease; another process continues pushing")
        finally:
            await self._end(list(self._workers))
            with suppress(Unavailable):
                await self._recorder.save()

    async def _update_workers(self, heads: Sequence[SubscriptionHead]) -> None:
        """Stop the workers of changed subscriptions, and start those of new ones and of failed ones due for a retry."""
        wanted = {head.key: head for head in heads}
        kept = (key for key, worker in self._workers.items() if worker.is_current(wanted.get(key)))
        await self._end(list(self._workers.keys() - set(kept)))
        for head in heads:
            if head.key not in self._workers:
                self._workers[head.key] = SubscriptionWorker(self.ports, self._recorder, head)
            if head.notice:
                await self._begin_notice(head)

    async def _end(self, keys: Sequence[SubscriptionKey]) -> None:
        tasks = [self._workers.pop(key).task for key in keys]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin_notice(self, head: SubscriptionHead) -> None:
        """Send a notice once, without retries: the receiver can also query its content."""
        await asyncio.to_thread(self.ports.subscriptions.delete_notice, head.key, head.notice)
        task = asyncio.create_task(self._send_notice(head))
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    async def _send_notice(self, head: SubscriptionHead) -> None:
        try:
            subscribed = await asyncio.to_thread(self.ports.subscriptions.subscription, head.key)
            if subscribed is not None:
                sender = self.ports.senders[subscribed.row.terms.method]
                await sender.send(
                    self.ports.open_target(subscribed), self.compose_notice(subscribed, head.notice)
                )
        except (DeliveryRejected, SealBroken, Unavailable) as error:
            log.warning("a notice of %s was not accepted: %s", label(head.key), error)
