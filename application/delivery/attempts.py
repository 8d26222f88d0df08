"""Attempt the delivery of a ticket, with retries and fallback methods."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from application.delivery.courier import Courier, DeliveryAttempt, NotDelivered
from application.delivery.masking import masked
from application.delivery.outbox import Outbox, OutboxStatus, PendingDelivery, RetryState
from application.delivery.record_delivery import RecordDelivery
from application.shared.errors import SealBroken
from application.shared.faults import log_fault
from application.shared.ports import Clock, Sealer
from application.shared.retries import Retries
from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from domain.delivery.ticket_delivery import Attempt, Obsolete
from domain.policies.policy import SendingMethod
from domain.tickets.ticket import ClearTicket

ACTOR = "tickets deliver"
_REDIRECTED = "recipient-changed"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempts:
    """Attempts the delivery of one ticket, and records the result. observe: receives every attempt; must not block."""

    outbox: Outbox
    couriers: Mapping[SendingMethod, Courier]
    sealer: Sealer
    execute: Callable[[Command], Awaitable[Answer]]
    retries: Retries
    clock: Clock
    lease: str
    new_command_id: Callable[[], str]
    correlation_id: Callable[[], str]
    observe: Callable[[DeliveryAttempt], None] = lambda _: None

    async def deliver(self, pending: PendingDelivery) -> None:
        """Deliver the ticket, postpone it, or end its delivery. Raises Unavailable."""
        retry_state = pending.retry_state
        if pending.is_refused:
            await self._wait_for_repair(pending, retry_state)
            return
        while True:
            why, method = pending.obsolete(self.clock()), pending.entry.methods[retry_state.method]
            if why or method is SendingMethod.NONE:
                await self._record(pending, retry_state, why=why or Obsolete.NOT_SENT)
                return
            if pending.status is OutboxStatus.FAILED and pending.ticket:
                await self._postpone(pending, retry_state, pending.ticket.valid_to)  # valid_to was extended
                return
            began = time.monotonic()
            if pending.is_redirected:
                self._report(pending, method, _REDIRECTED, began, delivered=False)
                await self._fail_redirected(pending, retry_state, method)
                return
            retry_state = replace(retry_state, attempts=retry_state.attempts + 1)
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
            log_fault(log, f"ticket {entry.delivery_id}", error)
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
            return replace(retry_state, method=retry_state.method + 1, failures=0, failing_since=None)
        await self._record(
            pending, retry_state, attempt=_attempt(pending, method, retry_state, failure.answer)
        )
        return None  # the sealed ticket is kept for a manual retry until the ticket expires

    async def _fail_redirected(
        self, pending: PendingDelivery, retry_state: RetryState, method: SendingMethod
    ) -> None:
        """Fail for all methods: the permission to change an address is not the permission to get a ticket."""
        error = "the address changed after the ticket was minted: retry the delivery, or reset the ticket"
        log.warning("ticket %s: %s", pending.delivery_id, error)
        attempt = Attempt(method=method, attempt=retry_state.attempts, recipient=None, answer=_REDIRECTED)
        await self._record(pending, replace(retry_state, last_error=error), attempt=attempt)

    async def _wait_for_repair(self, pending: PendingDelivery, retry_state: RetryState) -> None:
        """Postpone the ticket without an end: a refused row shows neither the address nor whether the ticket is obsolete."""
        retry_state = replace(
            retry_state,
            failures=retry_state.failures + 1,
            last_error="a row of the user is refused: run `tickets replay --check`",
        )
        await self._postpone(pending, retry_state, self.clock() + self.retries.delay(retry_state.failures))

    async def _postpone(self, pending: PendingDelivery, retry_state: RetryState, next_try: datetime) -> None:
        entry, count = pending.entry, pending.event_count
        await asyncio.to_thread(self.outbox.postpone, entry.key, self.lease, count, retry_state, next_try)

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
            event_count=pending.event_count,
            attempt=attempt,
            delivered=delivered,
            why=why,
            retry_state=retry_state,
            until=pending.ticket.valid_to if pending.ticket else None,
        )
        if (await self.execute(command)).unwrap().outcome is Outcome.QUEUED:
            # The requested retry begins now.
            await asyncio.to_thread(self.outbox.release_leases, self.lease, [pending.entry.key])


def _attempt(
    pending: PendingDelivery, method: SendingMethod, retry_state: RetryState, answer: str
) -> Attempt:
    recipient = masked(pending.recipient, method) if pending.recipient else None
    return Attempt(method=method, attempt=retry_state.attempts, recipient=recipient, answer=answer)
