"""Deliver the tickets in the outbox at least once each, unless they are obsolete."""

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from application.delivery.masking import masked
from application.delivery.outbox import DeliveryKey, Outbox, OutboxStatus, PendingDelivery, RetryState
from application.delivery.record_delivery import RecordDelivery
from application.shared.errors import SealBroken, Unavailable
from application.shared.ports import Clock, Sealer
from application.shared.retries import Retries
from application.transaction.command import Answer, Command
from domain.delivery.ticket_delivery import Attempt, Obsolete
from domain.policies.policy import SendingMethod
from domain.tickets.ticket import ClearTicket

ACTOR = "tickets deliver"
MAX_CONCURRENT = 32
_POLL_INTERVAL_SECONDS = 1
_RETRY_DELAY_SECONDS = 2
_STOP_TIMEOUT_SECONDS = 5

log = logging.getLogger(__name__)


class NotDelivered(Exception):
    """A delivery attempt failed. The helpdesk sees the message, so it contains no address.

    answer: the code of the receiving server or of this service. final: a retry with this method cannot succeed.
    """

    def __init__(self, message: str, answer: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.answer = answer
        self.final = final


class DeliveryAttempt(NamedTuple):
    """An observed delivery attempt. answer: the code. correlation_id: of the command that minted the ticket, if known."""

    method: SendingMethod
    answer: str
    delivered: bool
    seconds: float
    correlation_id: str | None


class Courier(Protocol):
    """Delivers tickets by one method."""

    async def deliver(self, ticket: ClearTicket, pending: PendingDelivery) -> str:
        """Deliver a ticket durably and return the code of the receiver. Raises NotDelivered.

        May be called again for the same ticket; the message then has the same identity.
        """


@dataclass
class Deliverer:
    """Delivers the tickets in the outbox; several processes may run one concurrently.

    lease: a unique name. lease_for: the delivery lease; an interrupted delivery is retried after it. observe: receives
    every attempt; must not block.
    """

    outbox: Outbox
    couriers: Mapping[SendingMethod, Courier]
    sealer: Sealer
    execute: Callable[[Command], Awaitable[Answer]]
    retries: Retries
    clock: Clock
    lease: str
    lease_for: timedelta
    new_command_id: Callable[[], str]
    correlation_id: Callable[[], str]
    observe: Callable[[DeliveryAttempt], None] = lambda _: None
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
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._woken.wait()

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
            await self._deliver_or_postpone(pending)
        except Unavailable as error:
            log.warning("ticket %s: %s", pending.delivery_id, error)
        except Exception:
            log.exception("ticket %s: delivery failed and will be retried", pending.delivery_id)

    async def _deliver_or_postpone(self, pending: PendingDelivery) -> None:
        retry_state = pending.retry_state
        while True:
            why, method = pending.obsolete(self.clock()), pending.entry.methods[retry_state.method]
            if why or method is SendingMethod.NONE:
                await self._record(pending, retry_state, why=why or Obsolete.NOT_SENT)
                return
            if pending.status is OutboxStatus.FAILED and pending.ticket:
                await self._postpone(pending, retry_state, pending.ticket.valid_to)  # valid_to was extended
                return
            retry_state = replace(retry_state, attempts=retry_state.attempts + 1)
            began = time.monotonic()
            try:
                answer = await self._attempt_delivery(pending, method)
            except NotDelivered as failure:
                self._report(pending, method, failure.answer, began, delivered=False)
                following = await self._handle_failure(failure, pending, retry_state, method)
                if following is None:
                    return
                retry_state = following
            else:
                self._report(pending, method, answer, began, delivered=True)
                attempt = _attempt(pending, method, retry_state, answer)
                await self._record(pending, retry_state, attempt=attempt, delivered=True)
                return

    def _report(
        self, pending: PendingDelivery, method: SendingMethod, answer: str, began: float, *, delivered: bool
    ) -> None:
        seconds = time.monotonic() - began
        self.observe(DeliveryAttempt(method, answer, delivered, seconds, pending.entry.correlation_id))

    async def _attempt_delivery(self, pending: PendingDelivery, method: SendingMethod) -> str:
        entry = pending.entry
        try:
            ticket = ClearTicket(self.sealer.unseal(entry.sealed, bound_to=entry.delivery_id).reveal())
        except SealBroken as error:
            raise NotDelivered(str(error), "seal-broken") from None
        courier = self.couriers.get(method)
        if courier is None:
            raise NotDelivered(f"{method} is not configured", "not-set-up", final=True)
        try:
            return await courier.deliver(ticket, pending)
        except NotDelivered:
            raise
        except Exception as error:  # noqa: BLE001 - retried like any other failure
            # The message is not logged, since it may contain the ticket.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("ticket %s: %s in\n%s", entry.delivery_id, type(error).__name__, where)  # noqa: TRY400
            raise NotDelivered("internal error; see the log of the service", "error") from None

    async def _handle_failure(
        self, failure: NotDelivered, pending: PendingDelivery, retry_state: RetryState, method: SendingMethod
    ) -> RetryState | None:
        """Return the retry state for an immediate attempt with the next method; None: postponed, or failed for good."""
        now = self.clock()
        since = retry_state.failing_since or now
        retry_state = replace(
            retry_state, failures=retry_state.failures + 1, failing_since=since, last_error=str(failure)
        )
        next_try = now + self.retries.delay(retry_state.failures)
        log.warning("ticket %s: delivery by %s failed: %s", pending.delivery_id, method, failure)
        if not failure.final and next_try - since < self.retries.give_up_after:
            await self._postpone(pending, retry_state, next_try)
            return None
        if retry_state.method + 1 < len(pending.entry.methods):
            return RetryState(
                method=retry_state.method + 1,
                attempts=retry_state.attempts,
                last_error=retry_state.last_error,
            )
        await self._record(
            pending, retry_state, attempt=_attempt(pending, method, retry_state, failure.answer)
        )
        return None  # the sealed ticket is kept for a manual retry until the ticket expires

    async def _postpone(self, pending: PendingDelivery, retry_state: RetryState, next_try: datetime) -> None:
        await asyncio.to_thread(self.outbox.postpone, pending.entry.key, self.lease, retry_state, next_try)

    async def _record(
        self,
        pending: PendingDelivery,
        retry_state: RetryState,
        *,
        attempt: Attempt | None = None,
        delivered: bool = False,
        why: Obsolete | None = None,
    ) -> None:
        command = RecordDelivery(
            subject=pending.entry.subject,
            actor=ACTOR,
            correlation_id=pending.entry.correlation_id or self.correlation_id(),
            command_id=self.new_command_id(),
            request_digest="",
            delivery_key=pending.entry.key,
            attempt=attempt,
            delivered=delivered,
            why=why,
            retry_state=retry_state,
            until=pending.ticket.valid_to if pending.ticket else None,
        )
        (await self.execute(command)).unwrap()


def _attempt(
    pending: PendingDelivery, method: SendingMethod, retry_state: RetryState, answer: str
) -> Attempt:
    recipient = masked(pending.recipient, method) if pending.recipient else None
    return Attempt(method=method, attempt=retry_state.attempts, recipient=recipient, answer=answer)
