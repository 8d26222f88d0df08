"""Deliver the tickets that wait in the outbox: at least once each, and only what still opens something."""

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

from application.delivery.outbox import DeliveryKey, Outbox, OutboxStatus, PendingDelivery, RetryState
from application.delivery.record_delivery import RecordDelivery
from application.shared.errors import SealBroken, Unavailable
from application.shared.masking import masked
from application.shared.ports import Clock, Sealer
from application.shared.retries import Retries
from application.transaction.command import Answer, Command
from domain.delivery.ticket_delivery import Attempt, Obsolete
from domain.policies.policy import SendingMethod
from domain.tickets.ticket import ClearTicket

ACTOR = "tickets deliver"
MAX_CONCURRENT = 32
_POLL_INTERVAL_SECONDS = 1
_AGAIN_AFTER_SECONDS = 2
_STOP_TIMEOUT_SECONDS = 5

log = logging.getLogger(__name__)


class NotDelivered(Exception):
    """A ticket that could not be handed over now; what it says is shown to the helpdesk, and names no address.

    answer: the code of who did not take it, or ours. final: this method can never bring it to this recipient.
    """

    def __init__(self, said: str, answer: str, *, final: bool = False) -> None:
        super().__init__(said)
        self.answer = answer
        self.final = final


class DeliveryAttempt(NamedTuple):
    """A try to hand over a ticket. answer: the code. correlation_id: of the command that minted it, if that is known."""

    method: SendingMethod
    answer: str
    delivered: bool
    seconds: float
    correlation_id: str | None


class Courier(Protocol):
    """Brings tickets to their users, by one method."""

    async def deliver(self, ticket: ClearTicket, waiting: PendingDelivery) -> str:
        """Hand one ticket over for good: when this returns, a crash no longer loses it. Raises NotDelivered.

        Returns the code of who took it. May be called again with the same ticket: what is sent then has the same identity.
        """


@dataclass
class Deliverer:
    """Takes tickets from the outbox and hands them over, beside others who do the same.

    lease: a name that no other has. lease_for: how long what this one took is kept from the others when it dies.
    observe: told of every try; must return at once.
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
        """Look at once. Only on the event loop."""
        self._woken.set()

    async def run(self) -> None:
        """Deliver until cancelled; what is under way then and does not end soon is cut off, and somebody else's at once."""
        try:
            while True:
                try:
                    await self._extend()
                    await self._take()
                except Unavailable as error:
                    log.warning("delivery is put off: %s", error)
                    await asyncio.sleep(_AGAIN_AFTER_SECONDS)
                except Exception:
                    log.exception("delivery failed and is put off")
                    await asyncio.sleep(_AGAIN_AFTER_SECONDS)
        finally:
            await self._let_go()

    async def _extend(self) -> None:
        """Keep what is under way from the others for longer."""
        now = self.clock()
        # Or the clock was set back.
        if self._extended is None or not timedelta() <= now - self._extended <= self.lease_for / 3:
            keys = list(self._running.values())
            await asyncio.to_thread(self.outbox.extend, self.lease, keys, now + self.lease_for)
            self._extended = now

    async def _take(self) -> None:
        """Take as many as there is room for, or wait for some."""
        self._woken.clear()
        room = MAX_CONCURRENT - len(self._running)
        taken = await self._taken(room) if room else ()
        for waiting in taken:
            task = asyncio.create_task(self._deliver(waiting))
            self._running[task] = waiting.entry.key
            task.add_done_callback(self._ended)
        if len(taken) < room or not room:
            # Soon enough to extend a short lease, too.
            seconds = min(_POLL_INTERVAL_SECONDS, self.lease_for.total_seconds() / 4)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._woken.wait()

    async def _taken(self, room: int) -> Sequence[PendingDelivery]:
        now = self.clock()
        taking = asyncio.create_task(
            asyncio.to_thread(self.outbox.take, self.lease, now, now + self.lease_for, room)
        )
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            # The thread takes them all the same.
            with suppress(Unavailable):
                keys = [waiting.entry.key for waiting in await taking]
                await asyncio.to_thread(self.outbox.release_leases, self.lease, keys)
            raise

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if len(self._running) == MAX_CONCURRENT:
            self._woken.set()
        del self._running[task]

    async def _let_go(self) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=_STOP_TIMEOUT_SECONDS)
        keys = list(self._running.values())
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        with suppress(Unavailable):
            await asyncio.to_thread(self.outbox.release_leases, self.lease, keys)

    async def _deliver(self, waiting: PendingDelivery) -> None:
        try:
            await self._deliver_or_put_off(waiting)
        except Unavailable as error:
            log.warning("ticket %s: %s", waiting.delivery_id, error)
        except Exception:
            log.exception("ticket %s: its delivery failed, and is tried again", waiting.delivery_id)

    async def _deliver_or_put_off(self, waiting: PendingDelivery) -> None:
        trying = waiting.trying
        while True:
            why, method = waiting.obsolete(self.clock()), waiting.entry.methods[trying.method]
            if why or method is SendingMethod.NONE:
                await self._record(waiting, trying, why=why or Obsolete.NOT_SENT)
                return
            if waiting.standing is OutboxStatus.FAILED and waiting.ticket:
                await self._postpone(waiting, trying, waiting.ticket.valid_to)  # which somebody moved
                return
            trying = replace(trying, attempts=trying.attempts + 1)
            began = time.monotonic()
            try:
                answer = await self._hand_over(waiting, method)
            except NotDelivered as failure:
                self._tell(waiting, method, failure.answer, began, delivered=False)
                following = await self._after(failure, waiting, trying, method)
                if following is None:
                    return
                trying = following
            else:
                self._tell(waiting, method, answer, began, delivered=True)
                attempt = _attempt(waiting, method, trying, answer)
                await self._record(waiting, trying, attempt=attempt, delivered=True)
                return

    def _tell(
        self, waiting: PendingDelivery, method: SendingMethod, answer: str, began: float, *, delivered: bool
    ) -> None:
        seconds = time.monotonic() - began
        self.observe(DeliveryAttempt(method, answer, delivered, seconds, waiting.entry.correlation_id))

    async def _hand_over(self, waiting: PendingDelivery, method: SendingMethod) -> str:
        entry = waiting.entry
        try:
            ticket = ClearTicket(self.sealer.unseal(entry.sealed, bound_to=entry.delivery_id).reveal())
        except SealBroken as error:
            raise NotDelivered(str(error), "seal-broken") from None
        courier = self.couriers.get(method)
        if courier is None:
            raise NotDelivered(f"{method} is not set up here", "not-set-up", final=True)
        try:
            return await courier.deliver(ticket, waiting)
        except NotDelivered:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again like any other failure
            # Where it happened, and not what it says, which may hold the ticket.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("ticket %s: %s in\n%s", entry.delivery_id, type(error).__name__, where)  # noqa: TRY400
            raise NotDelivered("an error of the service, which its log has", "error") from None

    async def _after(
        self, failure: NotDelivered, waiting: PendingDelivery, trying: RetryState, method: SendingMethod
    ) -> RetryState | None:
        """Return how to go on at once, by the next method; None: it was put off, or given up."""
        now = self.clock()
        since = trying.failing_since or now
        trying = replace(trying, failures=trying.failures + 1, failing_since=since, last_error=str(failure))
        next_try = now + self.retries.wait(trying.failures)
        log.warning("ticket %s is not delivered by %s: %s", waiting.delivery_id, method, failure)
        if not failure.final and next_try - since < self.retries.give_up_after:
            await self._postpone(waiting, trying, next_try)
            return None
        if trying.method + 1 < len(waiting.entry.methods):
            return RetryState(
                method=trying.method + 1, attempts=trying.attempts, last_error=trying.last_error
            )
        await self._record(waiting, trying, attempt=_attempt(waiting, method, trying, failure.answer))
        return None  # it is kept, for a retry, until the ticket ends

    async def _postpone(self, waiting: PendingDelivery, trying: RetryState, next_try: datetime) -> None:
        await asyncio.to_thread(self.outbox.postpone, waiting.entry.key, self.lease, trying, next_try)

    async def _record(
        self,
        waiting: PendingDelivery,
        trying: RetryState,
        *,
        attempt: Attempt | None = None,
        delivered: bool = False,
        why: Obsolete | None = None,
    ) -> None:
        command = RecordDelivery(
            subject=waiting.entry.subject,
            actor=ACTOR,
            correlation_id=waiting.entry.correlation_id or self.correlation_id(),
            command_id=self.new_command_id(),
            request_digest="",
            delivery_key=waiting.entry.key,
            attempt=attempt,
            delivered=delivered,
            why=why,
            trying=trying,
            until=waiting.ticket.valid_to if waiting.ticket else None,
        )
        (await self.execute(command)).unwrap()


def _attempt(waiting: PendingDelivery, method: SendingMethod, trying: RetryState, answer: str) -> Attempt:
    recipient = masked(waiting.recipient, method) if waiting.recipient else None
    return Attempt(method=method, attempt=trying.attempts, recipient=recipient, answer=answer)
