"""Deliverers beside a service, and scripted couriers."""

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from application.delivery.attempts import Attempts
from application.delivery.courier import Courier, NotDelivered
from application.delivery.deliver_tickets import Deliverer
from application.delivery.deliveries import TOPICS
from application.delivery.outbox import Outbox, PendingDelivery
from application.shared.retries import Retries
from application.transaction.command import Answer, Command
from domain.delivery.ticket_delivery import DeliveryEvent
from domain.policies.policy import SendingMethod
from domain.shared.subject import Subject
from domain.tickets.ticket import ClearTicket
from tests.support.fakes import SUBJECT, TRACEPARENT
from tests.support.service import Service

HANGS = "hangs"
RETRIES = Retries(
    first=timedelta(seconds=30),
    longest=timedelta(hours=1),
    give_up_after=timedelta(hours=24),
    jitter=lambda: 0.5,
)
_numbers = itertools.count()


def later(reported: str = "the test is busy", answer: str = "451") -> NotDelivered:
    """Return a temporary failure."""
    return NotDelivered(reported, answer)


def never(reported: str = "the test never takes it", answer: str = "550") -> NotDelivered:
    """Return a permanent failure."""
    return NotDelivered(reported, answer, final=True)


@dataclass
class FakeCourier:
    """Follows a plan and then accepts every ticket; a hanging delivery ends with `open`."""

    planned: list[str | Exception] = field(default_factory=list)
    given: list[PendingDelivery] = field(default_factory=list)
    tickets: list[ClearTicket] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    async def deliver(self, ticket: ClearTicket, pending: PendingDelivery) -> str:
        outcome = self.planned.pop(0) if self.planned else "250"
        self.tickets.append(ticket)
        self.given.append(pending)
        if outcome == HANGS:
            while not self.gate.is_set():  # noqa: ASYNC110 - another thread opens it
                await asyncio.sleep(0.005)
            return "250"
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    @property
    def versions(self) -> list[int]:
        """The tickets that it was given, by the version that minted each."""
        return [pending.entry.version for pending in list(self.given)]

    def open(self) -> None:
        """Continue the hanging deliveries."""
        self.gate.set()


class Delivering:
    """A deliverer that runs in a separate thread until it is stopped. close: closes the couriers."""

    def __init__(
        self,
        service: Service,
        couriers: Mapping[SendingMethod, Courier],
        *,
        close: Callable[[], Awaitable[None]] | None = None,
        **terms: Any,
    ) -> None:
        fields: dict[str, Any] = {
            "outbox": service.store,
            "couriers": couriers,
            "sealer": service.sealer,
            "execute": _executing(service),
            "retries": RETRIES,
            "clock": service.clock,
            "lease": f"lease-{next(_numbers)}",
            "new_command_id": lambda: f"delivery-{next(_numbers)}",
            "correlation_id": lambda: TRACEPARENT,
        }
        self._close = close
        self._asked = False
        self._loop = asyncio.new_event_loop()
        lease_for = terms.pop("lease_for", timedelta(seconds=30))
        attempts = Attempts(**{**fields, **terms})
        self._deliverer = Deliverer(attempts.outbox, attempts, attempts.clock, attempts.lease, lease_for)
        self._task = self._loop.create_task(self._deliverer.run())
        self._thread = threading.Thread(target=self._run, name="delivering")
        self._thread.start()

    def wake(self) -> None:
        """Make it poll immediately."""
        self._loop.call_soon_threadsafe(self._deliverer.wake)

    def ask_to_stop(self) -> None:
        """Cancel it, and do not wait. Once: a second time would interrupt its running deliveries."""
        if not self._asked and not self._loop.is_closed():
            self._asked = True
            self._loop.call_soon_threadsafe(self._task.cancel)

    def stop(self) -> None:
        """Cancel it, and wait until it has released everything."""
        self.ask_to_stop()
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._until_cancelled())

    async def _until_cancelled(self) -> None:
        await asyncio.gather(self._task, return_exceptions=True)
        if self._close:
            await self._close()


@contextmanager
def delivering(
    service: Service, couriers: Mapping[SendingMethod, Courier], **terms: Any
) -> Iterator[Delivering]:
    """Yield a running deliverer; it is stopped at the end."""
    running = Delivering(service, couriers, **terms)
    try:
        yield running
    finally:
        running.stop()


def recorded_of(store: Any, subject: Subject = SUBJECT) -> list[DeliveryEvent]:
    """Return the recorded deliveries to a user, oldest first, from a fake or a real store."""
    if not hasattr(store, "newest_of_user"):
        events = [event for stream in store.events.values() for event in stream]
        return [
            event
            for event in events
            if isinstance(event, DeliveryEvent) and (event.client_ext_id, event.user_ext_id) == tuple(subject)
        ]
    entries = store.newest_of_user(subject, TOPICS, 10_000)
    found = [store.event(entry) for entry in reversed(entries)]
    return [event for event in found if isinstance(event, DeliveryEvent)]


def outbox_of(service: Service) -> Outbox:
    """Return the outbox of the service: every store implements it."""
    return service.store


def _executing(service: Service) -> Callable[[Command], Any]:
    async def execute(command: Command) -> Answer:
        return await asyncio.wrap_future(service.commands.submit(command))

    return execute
