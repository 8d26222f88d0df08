"""Deliver the tickets in the outbox at least once each, unless they are obsolete."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from application.delivery.attempts import Attempts
from application.delivery.outbox import DeliveryKey, Outbox, PendingDelivery
from application.shared.errors import Unavailable
from application.shared.ports import Clock
from application.shared.waiting import is_set_within

MAX_CONCURRENT = 32
_POLL_INTERVAL_SECONDS = 1
_RETRY_DELAY_SECONDS = 2
_STOP_TIMEOUT_SECONDS = 5

log = logging.getLogger(__name__)


@dataclass
class Deliverer:
    """Delivers the tickets in the outbox; several processes may run one concurrently.

    lease: a unique name. lease_for: the delivery lease; an interrupted delivery is retried after it.
    """

    outbox: Outbox
    attempts: Attempts
    clock: Clock
    lease: str
    lease_for: timedelta
    _extended: datetime | None = None
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _running: "dict[asyncio.Task[None], DeliveryKey]" = field(default_factory=dict)

    def wake(self) -> None:
        """Poll the outbox now. Call it on the event loop only."""
        self._woken.set()

    async def run(self) -> None:
        """Deliver until cancelled. Unfinished deliveries are then cancelled after a time-out, and their leases released."""
        try:
            while True:
                try:
                    await self._extend()
                    await self._take()
                except Unavailable as error:
                    log.warning("delivery failed and will be retried: %s", error)
                    await asyncio.sleep(_RETRY_DELAY_SECONDS)
                except Exception:
                    log.exception("delivery failed and will be retried")
                    await asyncio.sleep(_RETRY_DELAY_SECONDS)
        finally:
            await self._release()

    async def _extend(self) -> None:
        """Extend the leases of the running deliveries."""
        now = self.clock()
        # A negative difference means that the clock was set back.
        if self._extended is None or not timedelta() <= now - self._extended <= self.lease_for / 3:
            keys = list(self._running.values())
            await asyncio.to_thread(self.outbox.extend, self.lease, keys, now + self.lease_for)
            self._extended = now

    async def _take(self) -> None:
        """Start as many deliveries as the limit allows, or wait for new tickets."""
        self._woken.clear()
        room = MAX_CONCURRENT - len(self._running)
        taken = await self._claim(room) if room else ()
        for pending in taken:
            task = asyncio.create_task(self._deliver(pending))
            self._running[task] = pending.entry.key
            task.add_done_callback(self._finished)
        if len(taken) < room or not room:
            # A short lease needs a shorter interval.
            seconds = min(_POLL_INTERVAL_SECONDS, self.lease_for.total_seconds() / 4)
            await is_set_within(self._woken, seconds)

    async def _claim(self, room: int) -> Sequence[PendingDelivery]:
        now = self.clock()
        taking = asyncio.create_task(
            asyncio.to_thread(self.outbox.take, self.lease, now, now + self.lease_for, room)
        )
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            # Cancellation does not stop the thread, so release its leases.
            with suppress(Unavailable):
                keys = [pending.entry.key for pending in await taking]
                await asyncio.to_thread(self.outbox.release_leases, self.lease, keys)
            raise

    def _finished(self, task: "asyncio.Task[None]") -> None:
        if len(self._running) == MAX_CONCURRENT:
            self._woken.set()
        del self._running[task]

    async def _release(self) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=_STOP_TIMEOUT_SECONDS)
        keys = list(self._running.values())
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        with suppress(Unavailable):
            await asyncio.to_thread(self.outbox.release_leases, self.lease, keys)

    async def _deliver(self, pending: PendingDelivery) -> None:
        try:
            await self.attempts.deliver(pending)
        except Unavailable as error:
            log.warning("ticket %s: %s", pending.delivery_id, error)
        except Exception:
            log.exception("ticket %s: delivery failed and will be retried", pending.delivery_id)
