"""The delivery status shown to the helpdesk, and waiting for it; on both stores."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from application.delivery.deliveries import (
    DeliveryStatus,
    TicketDeliveryItem,
    read_deliveries,
    wait_for_status,
)
from application.delivery.outbox import DeliveryKey, RetryState
from application.delivery.record_delivery import RecordDelivery, RetryDeliveries
from application.feed.live_feed import LiveFeed
from application.shared.errors import StoreUnavailable
from domain.delivery.ticket_delivery import Attempt, Obsolete
from domain.policies.policy import SendingMethod, TicketPolicy
from domain.shared.subject import Subject
from domain.tickets.events import stream_id
from tests.support.delivering import outbox_of
from tests.support.evidence import open_store
from tests.support.fakes import NOW, SUBJECT
from tests.support.service import Service, command, service_over

ATTEMPT = Attempt(method=SendingMethod.EMAIL, attempt=3, recipient="u***@e***.com", answer="250")
LATER = NOW + timedelta(hours=1)
OTHER = Subject("client-123", "user-456")
LONG = 120


@pytest.fixture(autouse=True)
def _ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the interval after which a watcher of commits notices a stop."""
    for store in ("sqlite_store", "postgres_store"):
        monkeypatch.setattr(f"interface.outbound.sql.{store}._NOTIFY_SECONDS", 0.1)


def service_at(database_url: str) -> Iterator[Service]:
    store = open_store(database_url)
    with service_over(store) as service:
        service.register()
        service.create()
        yield service
    store.close()


@pytest.fixture
def service(sqlite_url: str) -> Iterator[Service]:
    yield from service_at(sqlite_url)


@pytest.fixture
def any_service(database_url: str) -> Iterator[Service]:
    yield from service_at(database_url)


def record(service: Service, version: int = 1, *, subject: Subject = SUBJECT, **changes: Any) -> None:
    key = DeliveryKey(subject.client_ext_id, stream_id(*subject), version)
    fields = {"attempt": ATTEMPT, "delivered": True, **changes}
    service.execute(command(RecordDelivery, subject=subject, delivery_key=key, **fields))


def fail(service: Service, version: int = 1) -> None:
    [pending] = [found for found in outbox_of(service).pending(SUBJECT) if found.entry.version == version]
    record(
        service,
        version,
        event_count=pending.event_count,
        delivered=False,
        retry_state=RetryState(attempts=3, last_error="unknown"),
        until=LATER,
    )


def deliveries(service: Service, limit: int = 50, subject: Subject = SUBJECT) -> list[TicketDeliveryItem]:
    ledger: Any = service.store
    return list(read_deliveries(subject, limit, outbox=outbox_of(service), ledger=ledger))


def statuses(service: Service, limit: int = 50) -> list[tuple[int, str]]:
    return [(item["ticketVersion"], item["status"]) for item in deliveries(service, limit)]


def test_a_queued_ticket_shows_its_attempts_and_the_next_try(any_service: Service) -> None:
    [item] = deliveries(any_service)
    assert item == {
        "ticketVersion": 1,
        "status": "queued",
        "time": "2026-11-23T09:42:00Z",
        "method": "Email",
        "attempt": 0,
        "recipient": "u***@e***.com",
        "answer": None,
        "lastError": None,
        "nextTry": None,
        "why": None,
    }

    outbox = outbox_of(any_service)
    outbox.take("mine", NOW, LATER, 1)
    retry_state = RetryState(attempts=2, failures=2, failing_since=NOW, last_error="busy")
    outbox.postpone(DeliveryKey("client-123", stream_id(*SUBJECT), 1), "mine", 0, retry_state, LATER)

    [tried] = deliveries(any_service)
    assert tried == {**item, "attempt": 2, "lastError": "busy", "nextTry": "2026-11-23T10:42:00Z"}


def test_a_final_status_shows_method_and_reason(any_service: Service) -> None:
    any_service.regenerate()
    any_service.regenerate()
    any_service.clock.advance(timedelta(minutes=1))
    record(any_service, 1, attempt=None, why=Obsolete.REPLACED)
    record(any_service, 2)
    fail(any_service, 3)

    failed, sent, ended = deliveries(any_service)

    common = {"time": "2026-11-23T09:43:00Z", "nextTry": None}
    tried = {"method": "Email", "attempt": 3, "recipient": "u***@e***.com", "answer": "250"}
    untried = {"method": None, "attempt": 0, "recipient": None, "answer": None}
    assert failed == {
        **common,
        **tried,
        "ticketVersion": 3,
        "status": "failed",
        "lastError": "unknown",
        "why": None,
    }
    assert sent == {
        **common,
        **tried,
        "ticketVersion": 2,
        "status": "sent",
        "lastError": None,
        "why": None,
    }
    assert ended == {
        **common,
        **untried,
        "ticketVersion": 1,
        "status": "ended",
        "lastError": None,
        "why": "replaced",
    }


def test_a_requested_retry_queues_and_sends_a_failed_ticket(any_service: Service) -> None:
    fail(any_service)
    found = [statuses(any_service)]
    any_service.execute(command(RetryDeliveries))
    found.append(statuses(any_service))
    record(any_service)
    found.append(statuses(any_service))

    assert found == [[(1, "failed")], [(1, "queued")], [(1, "sent")]]


def test_the_newest_deliveries_come_first_up_to_the_limit(service: Service) -> None:
    for _ in range(6):
        service.regenerate()
    for version in (1, 2, 5):
        record(service, version)

    assert statuses(service) == [
        *((7, "queued"), (6, "queued"), (5, "sent"), (4, "queued"), (3, "queued"), (2, "sent"), (1, "sent")),
    ]
    assert statuses(service, 3) == [(7, "queued"), (6, "queued"), (5, "sent")]
    assert statuses(service, 1) == [(7, "queued")]


def test_many_failures_of_one_ticket_do_not_hide_older_tickets(service: Service) -> None:
    service.regenerate()
    record(service, 1)
    for _ in range(9):
        fail(service, 2)
        service.execute(command(RetryDeliveries))
    fail(service, 2)

    assert statuses(service, 2) == [(2, "failed"), (1, "sent")]
    assert statuses(service, 1) == [(2, "failed")]


def test_deliveries_of_other_users_are_not_shown(service: Service) -> None:
    service.register(subject=OTHER)
    service.create(subject=OTHER)
    record(service, subject=OTHER)

    assert statuses(service) == [(1, "queued")]
    assert [item["status"] for item in deliveries(service, subject=OTHER)] == ["sent"]


def test_a_policy_that_sends_nothing_has_no_delivery(service: Service) -> None:
    record(service)
    service.define("default", policy=TicketPolicy(sending_method=(SendingMethod.NONE,)))
    service.regenerate()

    assert statuses(service) == [(1, "sent")]


class _OutboxWithInterruptedRead:
    """An outbox whose deliveries end between the two reads."""

    def __init__(self, service: Service, during: Callable[[], None]) -> None:
        self._outbox = outbox_of(service)
        self._during = during

    def pending(self, subject: Subject) -> Any:
        found = self._outbox.pending(subject)
        self._during()
        return found


@pytest.mark.parametrize(
    ("changes", "status"),
    [({}, DeliveryStatus.SENT), ({"attempt": None, "why": Obsolete.EXPIRED}, DeliveryStatus.ENDED)],
)
def test_a_delivery_that_ends_between_the_two_reads_is_final(
    service: Service, changes: dict[str, Any], status: DeliveryStatus
) -> None:
    behind: Any = _OutboxWithInterruptedRead(service, lambda: record(service, **changes))
    ledger: Any = service.store

    [item] = read_deliveries(SUBJECT, 50, outbox=behind, ledger=ledger)

    assert item["status"] is status


def waited(
    service: Service, version: int = 1, seconds: float = LONG, during: Callable[[], Any] | None = None
) -> tuple[TicketDeliveryItem | None, float]:
    """Wait for a delivery, run `during` during the wait, and return the result and the duration."""
    store: Any = service.store

    async def run() -> tuple[TicketDeliveryItem | None, float]:
        live = LiveFeed(store, "tickets")
        begun = time.monotonic()
        waiting = asyncio.create_task(
            wait_for_status(SUBJECT, version, seconds, outbox=store, ledger=store, live=live)
        )
        try:
            if during:
                await _followed(live)
                await asyncio.to_thread(during)
            return await waiting, time.monotonic() - begun
        finally:
            await live.close()

    return asyncio.run(run())


async def _followed(live: LiveFeed) -> None:
    async with asyncio.timeout(10):
        while not any(tail.end is not None for tail in live._tails.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_a_final_status_is_returned_immediately(service: Service) -> None:
    record(service)

    item, seconds = waited(service)

    assert item
    assert item["status"] is DeliveryStatus.SENT
    assert seconds < LONG / 2


def test_the_wait_ends_when_the_delivery_does(any_service: Service) -> None:
    item, seconds = waited(any_service, during=lambda: record(any_service))

    assert item
    assert item["status"] is DeliveryStatus.SENT
    assert seconds < LONG / 2


@pytest.mark.parametrize("end", ["failed", "ended"])
def test_a_failure_ends_the_wait(service: Service, end: str) -> None:
    happens: dict[str, Callable[[], None]] = {
        "failed": lambda: fail(service),
        "ended": lambda: record(service, attempt=None, why=Obsolete.ERASED),
    }

    item, seconds = waited(service, during=happens[end])

    assert item
    assert item["status"] == end
    assert seconds < LONG / 2


def test_the_wait_is_bounded_and_returns_the_current_status(service: Service) -> None:
    item, seconds = waited(service, seconds=0.2)

    assert item
    assert item["status"] is DeliveryStatus.QUEUED
    assert 0.2 <= seconds < LONG / 2


def test_without_a_wait_the_current_status_is_returned(service: Service) -> None:
    for version in (1, 2):
        service.regenerate()
        item, _ = waited(service, version, seconds=0)
        assert item
        assert (item["ticketVersion"], item["status"]) == (version, "queued")


def test_other_deliveries_do_not_end_the_wait(service: Service) -> None:
    service.regenerate()
    service.register(subject=OTHER)

    def others() -> None:
        service.create(subject=OTHER)
        record(service, 1, attempt=None, why=Obsolete.REPLACED)
        record(service, subject=OTHER)

    item, seconds = waited(service, 2, seconds=0.5, during=others)

    assert item
    assert (item["ticketVersion"], item["status"]) == (2, "queued")
    assert seconds >= 0.5


def test_a_ticket_without_delivery_does_not_wait(service: Service) -> None:
    service.define("default", policy=TicketPolicy(sending_method=(SendingMethod.NONE,)))
    service.regenerate()

    item, seconds = waited(service, 2)

    assert item is None
    assert seconds < LONG / 2


def test_a_stop_of_the_service_ends_the_wait(service: Service) -> None:
    store: Any = service.store

    async def run() -> TicketDeliveryItem | None:
        live = LiveFeed(store, "tickets")
        wait: Awaitable[TicketDeliveryItem | None] = wait_for_status(
            SUBJECT, 1, LONG, outbox=store, ledger=store, live=live
        )
        waiting = asyncio.ensure_future(wait)
        await _followed(live)
        live.stop()
        async with asyncio.timeout(LONG / 2):
            item = await waiting
        await live.close()
        return item

    item = asyncio.run(run())

    assert item
    assert item["status"] is DeliveryStatus.QUEUED


def test_many_callers_can_wait_for_the_same_ticket(service: Service) -> None:
    store: Any = service.store

    async def run() -> list[TicketDeliveryItem | None]:
        live = LiveFeed(store, "tickets")
        waiting = [
            asyncio.create_task(wait_for_status(SUBJECT, 1, LONG, outbox=store, ledger=store, live=live))
            for _ in range(50)
        ]
        await _followed(live)
        await asyncio.to_thread(record, service)
        items = await asyncio.gather(*waiting)
        await live.close()
        return items

    items = asyncio.run(run())

    assert [item and item["status"] for item in items] == [DeliveryStatus.SENT] * 50


def test_an_unreachable_store_is_reported(service: Service) -> None:
    def gone() -> None:
        raise StoreUnavailable("gone")

    behind: Any = _OutboxWithInterruptedRead(service, gone)
    ledger: Any = service.store

    with pytest.raises(StoreUnavailable):
        read_deliveries(SUBJECT, 50, outbox=behind, ledger=ledger)
