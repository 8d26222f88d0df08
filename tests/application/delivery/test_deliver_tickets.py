"""Delivery of queued tickets by the first method that succeeds, unless they are obsolete.

With the fake store, and with both real stores for leases and transactions.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NoReturn

import pytest

from application.delivery.deliver_tickets import MAX_CONCURRENT
from application.delivery.outbox import DeliveryKey, OutboxStatus, PendingDelivery, RetryState
from application.delivery.record_delivery import RetryDeliveries
from application.record.ledger import Checkpoint
from application.record.replay import check_ledger, check_streams, stream_ranges
from application.shared.errors import StoreUnavailable
from application.shared.retries import Retries
from application.tickets.create_ticket import CreateTicket
from application.tickets.regenerate_ticket import RegenerateTicket
from application.transaction.command import Answer, Command
from application.users.register_user import RegisterUser
from domain.delivery.ticket_delivery import (
    Attempt,
    DeliveryEvent,
    Obsolete,
    TicketDelivered,
    TicketDeliveryEnded,
    TicketDeliveryFailed,
)
from domain.policies.policy import SendingMethod, TicketPolicy
from domain.shared.subject import Subject
from domain.tickets.events import stream_id
from domain.tickets.states import State
from domain.tickets.ticket import ClearTicket
from interface.outbound.system import system_clock
from tests.support.delivering import (
    HANGS,
    FakeCourier,
    delivering,
    later,
    never,
    outbox_of,
    recorded_of,
)
from tests.support.evidence import open_store
from tests.support.fakes import NOW, SUBJECT
from tests.support.server import until
from tests.support.service import Service, command, service_over
from tests.support.stores import temporary_store

LINES = ("Bahnhofstrasse 1", "8001 Zürich")
EMAIL, HTML, LETTER, WEBHOOK, NONE = (
    SendingMethod.EMAIL,
    SendingMethod.HTML_EMAIL,
    SendingMethod.PDF_STORE,
    SendingMethod.WEBHOOK,
    SendingMethod.NONE,
)
Delivered, Failed, Ended = (
    TicketDelivered,
    TicketDeliveryFailed,
    TicketDeliveryEnded,
)
SOON = timedelta(seconds=30)
LIFETIME = TicketPolicy().lifetime


@pytest.fixture
def service() -> Iterator[Service]:
    with temporary_store() as store, service_over(store) as service:
        yield service


@pytest.fixture(params=["sqlite", "postgres"])
def any_service(request: pytest.FixtureRequest) -> Iterator[Service]:
    store = open_store(request.getfixturevalue(f"{request.param}_url"))
    with service_over(store) as service:
        yield service
    store.close()


def given_a_ticket(service: Service, *methods: SendingMethod) -> ClearTicket:
    if methods:
        service.define("default", policy=TicketPolicy(sending_method=methods))
    service.register(postal_address=LINES)
    service.create()
    return service.newest()


def pending_of(service: Service) -> list[PendingDelivery]:
    return list(outbox_of(service).pending(SUBJECT))


def leased_until(service: Service) -> datetime:
    [(moment,)] = service.store._fetch("SELECT leased_until FROM outbox", ())
    return datetime.fromisoformat(moment)


def retry_state_of(service: Service) -> RetryState:
    return pending_of(service)[0].retry_state


def has_failures(service: Service, count: int) -> bool:
    return retry_state_of(service).failures == count


def has_attempts(service: Service, count: int) -> bool:
    return retry_state_of(service).attempts == count


def has_got(courier: FakeCourier, count: int) -> bool:
    return len(courier.tickets) == count


def reported(service: Service, count: int) -> list[DeliveryEvent]:
    """Wait until `count` events are recorded, and return them."""
    until(lambda: len(recorded_of(service.store)) >= count, f"{count} records")
    return recorded_of(service.store)


def the_same(one: ClearTicket, *others: ClearTicket) -> bool:
    return all(one.reveal() == other.reveal() for other in others)


def test_a_delivered_ticket_is_recorded_and_deleted_from_the_outbox(any_service: Service) -> None:
    ticket, courier = given_a_ticket(any_service), FakeCourier()

    with delivering(any_service, {EMAIL: courier}):
        [event] = reported(any_service, 1)

    assert isinstance(event, Delivered)
    assert event.delivery == Attempt(method=EMAIL, attempt=1, recipient="u***@e***.com", answer="250")
    assert (event.actor, event.ticket_version, event.timestamp) == ("tickets deliver", 1, NOW)
    assert the_same(ticket, *courier.tickets)
    assert pending_of(any_service) == []


def test_a_wake_up_during_a_poll_triggers_an_immediate_delivery(
    service: Service,
) -> None:
    courier = FakeCourier()

    with delivering(service, {EMAIL: courier}) as running:
        given_a_ticket(service)
        running.wake()
        service.regenerate()
        running.wake()
        until(lambda: courier.versions[-1:] == [2], "the newest ticket is delivered")

    assert the_same(service.newest(), courier.tickets[-1])


def test_a_final_failure_triggers_the_next_method_immediately(service: Service) -> None:
    ticket = given_a_ticket(service, LETTER, HTML, EMAIL)
    letter, mail = FakeCourier([never("no postal address")]), FakeCourier()

    with delivering(service, {LETTER: letter, EMAIL: mail}):
        [event] = reported(service, 1)

    assert isinstance(event, Delivered)
    assert event.delivery == Attempt(method=EMAIL, attempt=3, recipient="u***@e***.com", answer="250")
    assert the_same(ticket, *letter.tickets, *mail.tickets)


def test_a_temporary_failure_is_retried_with_growing_delays(service: Service) -> None:
    given_a_ticket(service)
    courier = FakeCourier([later(), later("too busy"), later()])
    waits = []

    with delivering(service, {EMAIL: courier}) as running:
        for attempt in (1, 2, 3):
            until(partial(has_failures, service, attempt), "the ticket is postponed")
            [found] = pending_of(service)
            assert found.next_try
            waits.append((found.next_try - service.clock.now).total_seconds())
            assert (found.status, found.retry_state.attempts) == (OutboxStatus.QUEUED, attempt)
            assert found.retry_state.failing_since == NOW
            service.clock.now = found.next_try
            running.wake()
        [event] = reported(service, 1)

    assert waits == [30, 60, 120]
    assert isinstance(event, Delivered)
    assert event.delivery.attempt == 4


def test_a_delivery_is_not_retried_before_it_is_due(service: Service) -> None:
    given_a_ticket(service)
    courier = FakeCourier([later()])

    with delivering(service, {EMAIL: courier}) as running:
        until(partial(has_failures, service, 1), "the ticket is postponed")
        service.clock.advance(SOON - timedelta(seconds=1))
        given_a_ticket_of_another_user(service)
        running.wake()
        until(lambda: len(courier.tickets) == 2, "the other ticket is leased")

    assert retry_state_of(service).attempts == 1


def given_a_ticket_of_another_user(service: Service, name: str = "another") -> None:
    service.register(subject=Subject("client-123", name))
    service.create(subject=Subject("client-123", name))


def test_the_next_method_is_used_after_the_retry_period(service: Service) -> None:
    given_a_ticket(service, HTML, EMAIL)
    html, mail = FakeCourier([later()] * 100), FakeCourier([later()])
    hour = Retries(
        first=timedelta(minutes=20),
        longest=timedelta(minutes=20),
        give_up_after=timedelta(hours=1),
        jitter=lambda: 0.5,
    )

    with delivering(service, {HTML: html, EMAIL: mail}, retries=hour) as running:
        for attempts in (1, 2, 4):
            until(partial(has_attempts, service, attempts), "the ticket is postponed")
            service.clock.advance(timedelta(minutes=20))
            running.wake()
        [event] = reported(service, 1)

    # After the third failure the next attempt would exceed the hour; the hour of the second method starts again.
    assert (len(html.tickets), len(mail.tickets)) == (3, 2)
    assert isinstance(event, Delivered)
    assert (event.delivery.method, event.delivery.attempt) == (EMAIL, 5)


def test_the_final_failure_is_recorded_and_the_ticket_kept_until_it_expires(
    any_service: Service,
) -> None:
    given_a_ticket(any_service, LETTER, EMAIL)
    letter, mail = FakeCourier([never()]), FakeCourier([never("unknown there", "550")])

    with delivering(any_service, {LETTER: letter, EMAIL: mail}) as running:
        [event] = reported(any_service, 1)
        assert isinstance(event, Failed)
        assert event.delivery == Attempt(method=EMAIL, attempt=2, recipient="u***@e***.com", answer="550")
        [kept] = pending_of(any_service)
        assert (kept.status, kept.next_try) == (OutboxStatus.FAILED, NOW + LIFETIME)
        assert kept.retry_state.last_error == "unknown there"

        any_service.clock.advance(LIFETIME - timedelta(seconds=1))
        given_a_ticket_of_another_user(any_service)
        running.wake()
        until(lambda: len(letter.tickets) == 2, "the other ticket is leased")
        assert len(pending_of(any_service)) == 1

        any_service.clock.advance(timedelta(seconds=1))
        running.wake()
        _, ended = reported(any_service, 2)

    assert isinstance(ended, Ended)
    assert (ended.why, ended.originator_version) == (Obsolete.EXPIRED, 2)
    assert pending_of(any_service) == []
    assert len(mail.tickets) == 1


def test_a_failed_ticket_is_kept_longer_if_its_validity_is_extended(service: Service) -> None:
    given_a_ticket(service)

    with delivering(service, {EMAIL: FakeCourier([never()])}) as running:
        reported(service, 1)
        service.modify(valid_to=NOW + 2 * LIFETIME)
        service.clock.advance(LIFETIME)
        running.wake()
        until(lambda: pending_of(service)[0].next_try == NOW + 2 * LIFETIME, "the ticket is postponed")

    assert pending_of(service)[0].status is OutboxStatus.FAILED
    assert len(recorded_of(service.store)) == 1


def test_a_requested_retry_uses_every_method_again(any_service: Service) -> None:
    ticket = given_a_ticket(any_service, LETTER, EMAIL)
    letter, mail = FakeCourier([never(), never()]), FakeCourier([never()])

    with delivering(any_service, {LETTER: letter, EMAIL: mail}) as running:
        reported(any_service, 1)
        any_service.execute(command(RetryDeliveries))
        running.wake()
        _, event = reported(any_service, 2)

    assert isinstance(event, Delivered)
    assert (event.delivery.method, event.delivery.attempt, event.originator_version) == (EMAIL, 2, 3)
    assert the_same(ticket, *letter.tickets, *mail.tickets)
    assert (len(letter.tickets), len(mail.tickets)) == (2, 2)


def test_requested_retries_send_a_ticket_once(any_service: Service) -> None:
    any_service.define("default", policy=TicketPolicy(max_daily_delivery_count=1))
    any_service.register()
    any_service.create()
    courier = FakeCourier([never()])

    with delivering(any_service, {EMAIL: courier}) as running:
        reported(any_service, 1)
        for count in range(30):
            any_service.execute(command(RetryDeliveries))
            running.wake()
            if not count:
                until(lambda: not pending_of(any_service), "the ticket is sent")

    assert len(courier.tickets) == 2


def test_a_ticket_is_not_sent_to_an_address_that_is_newer_than_the_ticket(any_service: Service) -> None:
    given_a_ticket(any_service, EMAIL, LETTER)
    any_service.register(postal_address=LINES, email="thief@example.com")
    mail, letter = FakeCourier(), FakeCourier()

    with delivering(any_service, {EMAIL: mail, LETTER: letter}):
        [event] = reported(any_service, 1)

    assert isinstance(event, TicketDeliveryFailed)
    assert event.delivery == Attempt(method=EMAIL, attempt=0, recipient=None, answer="recipient-changed")
    assert (mail.tickets, letter.tickets) == ([], [])
    assert pending_of(any_service)[0].status is OutboxStatus.FAILED
    assert "the address changed" in (retry_state_of(any_service).last_error or "")


def test_a_requested_retry_sends_a_ticket_to_the_current_address(any_service: Service) -> None:
    ticket = given_a_ticket(any_service)
    any_service.register(postal_address=LINES, email="moved@example.com")
    courier = FakeCourier()

    with delivering(any_service, {EMAIL: courier}) as running:
        reported(any_service, 1)
        any_service.execute(command(RetryDeliveries))
        running.wake()
        _, event = reported(any_service, 2)

    assert isinstance(event, Delivered)
    assert event.delivery.recipient == "m***@e***.com"
    assert the_same(ticket, *courier.tickets)


def test_an_address_that_changes_after_a_requested_retry_is_not_used(service: Service) -> None:
    given_a_ticket(service)
    service.register(postal_address=LINES, email="moved@example.com")
    service.execute(command(RetryDeliveries))
    service.register(postal_address=LINES, email="thief@example.com")
    courier = FakeCourier()

    with delivering(service, {EMAIL: courier}):
        [event] = reported(service, 1)

    assert isinstance(event, TicketDeliveryFailed)
    assert courier.tickets == []


def test_a_reset_replaces_a_ticket_whose_address_changed(service: Service) -> None:
    given_a_ticket(service)
    service.register(postal_address=LINES, email="moved@example.com")
    service.regenerate()
    courier = FakeCourier()

    with delivering(service, {EMAIL: courier}):
        reported(service, 2)

    assert the_same(service.newest(), *courier.tickets)
    assert ended(service) == [(Obsolete.REPLACED, 1)]


def test_a_changed_name_or_language_does_not_stop_a_delivery(service: Service) -> None:
    given_a_ticket(service)
    service.register(postal_address=LINES, name="Ann", language="de")
    courier = FakeCourier()

    with delivering(service, {EMAIL: courier}):
        [event] = reported(service, 1)

    assert isinstance(event, Delivered)


def test_a_ticket_queued_by_release_1_0_is_sent_to_the_current_address(service: Service) -> None:
    given_a_ticket(service)
    service.store._run("UPDATE outbox SET terms = '{}'", [()])
    service.register(postal_address=LINES, email="moved@example.com")
    courier = FakeCourier()

    with delivering(service, {EMAIL: courier}):
        [event] = reported(service, 1)

    assert isinstance(event, Delivered)


def test_a_requested_retry_ignores_the_next_try(service: Service) -> None:
    given_a_ticket(service)
    courier = FakeCourier([later()])

    with delivering(service, {EMAIL: courier}) as running:
        until(partial(has_failures, service, 1), "the ticket is postponed")
        service.execute(command(RetryDeliveries))
        running.wake()
        [event] = reported(service, 1)

    assert isinstance(event, Delivered)
    assert event.delivery.attempt == 1


def _create_again(service: Service, user: Subject) -> None:
    service.delete(subject=user)
    service.clock.advance(timedelta(seconds=1))
    service.create(subject=user)


# A change to a user's ticket, the resulting reason, and the tickets that are sent.
ENDS: dict[str, tuple[Callable[[Service, Subject], Any], Obsolete, list[int]]] = {
    "replaced": (lambda service, user: service.regenerate(subject=user), Obsolete.REPLACED, [2]),
    "erased": (lambda service, user: service.erase(subject=user), Obsolete.ERASED, []),
    "deleted": (lambda service, user: service.delete(subject=user), Obsolete.DELETED, []),
    "created-again": (_create_again, Obsolete.REPLACED, [3]),
    "archived": (
        lambda service, user: service.modify(subject=user, state=State.ARCHIVED),
        Obsolete.ARCHIVED,
        [],
    ),
    "expired": (lambda service, _user: service.clock.advance(LIFETIME), Obsolete.EXPIRED, []),
}


def ended(service: Service, user: Subject = SUBJECT) -> list[tuple[Obsolete, int]]:
    found = recorded_of(service.store, user)
    return [(event.why, event.ticket_version) for event in found if isinstance(event, Ended)]


def test_an_obsolete_ticket_is_not_sent(any_service: Service) -> None:
    users = {end: Subject("client-123", end) for end in ENDS if end != "expired"}
    for end, user in users.items():
        given_a_ticket_of_another_user(any_service, user.user_ext_id)
        ENDS[end][0](any_service, user)
    courier = FakeCourier()

    with delivering(any_service, {EMAIL: courier}):
        until(lambda: not outbox_of(any_service).outbox_page(None, 1), "the outbox is empty")

    for end, user in users.items():
        _, why, sent = ENDS[end]
        assert ended(any_service, user) == [(why, 1)]
        assert [w.entry.version for w in courier.given if w.entry.subject == user] == sent


@pytest.mark.parametrize("end", ENDS)
def test_obsolescence_is_checked_before_each_attempt(service: Service, end: str) -> None:
    change, why, _ = ENDS[end]
    given_a_ticket(service)
    courier = FakeCourier([later()])

    with delivering(service, {EMAIL: courier}) as running:
        until(partial(has_failures, service, 1), "the ticket is postponed")
        change(service, SUBJECT)
        service.clock.advance(SOON)
        running.wake()
        until(lambda: pending_of(service) == [], "the outbox is empty")

    assert ended(service) == [(why, 1)]
    assert courier.versions.count(1) == 1


def test_a_disabled_ticket_is_sent(service: Service) -> None:
    given_a_ticket(service)
    service.modify(state=State.DISABLED)

    with delivering(service, {EMAIL: FakeCourier()}):
        [event] = reported(service, 1)

    assert isinstance(event, Delivered)


def test_the_method_none_ends_the_delivery(service: Service) -> None:
    given_a_ticket(service, EMAIL, NONE)

    with delivering(service, {EMAIL: FakeCourier([never()])}):
        [event] = reported(service, 1)

    assert isinstance(event, Ended)
    assert event.why is Obsolete.NOT_SENT
    assert pending_of(service) == []


def test_a_ticket_without_a_configured_method_is_kept_with_an_error(service: Service) -> None:
    given_a_ticket(service, WEBHOOK)

    with delivering(service, {}):
        [event] = reported(service, 1)

    assert isinstance(event, Failed)
    assert event.delivery == Attempt(method=WEBHOOK, attempt=1, recipient=None, answer="not-set-up")
    assert retry_state_of(service).last_error == "Webhook is not configured"


def test_a_seal_without_its_key_is_retried(service: Service) -> None:
    given_a_ticket(service)
    [(bound_to, secret)] = service.sealer.sealed
    service.sealer.sealed[0] = ("another row", secret)
    courier = FakeCourier()

    with delivering(service, {EMAIL: courier}) as running:
        until(partial(has_failures, service, 1), "the ticket is postponed")
        assert courier.tickets == []
        assert retry_state_of(service).last_error == "moved"
        service.sealer.sealed[0] = (bound_to, secret)
        service.clock.advance(SOON)
        running.wake()
        [event] = reported(service, 1)

    assert isinstance(event, Delivered)


class _LeakingCourier:
    """Fails with the clear ticket in the error message."""

    async def deliver(self, ticket: ClearTicket, _waiting: PendingDelivery) -> NoReturn:
        raise RuntimeError(f"cannot send {ticket.reveal()}") from ValueError(ticket.reveal())


def test_the_message_of_an_unexpected_error_is_neither_stored_nor_logged(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    clear = given_a_ticket(service, HTML, EMAIL).reveal()
    soon = Retries(first=SOON, longest=SOON, give_up_after=SOON, jitter=lambda: 0.5)

    with delivering(service, {HTML: _LeakingCourier(), EMAIL: _LeakingCourier()}, retries=soon):
        [event] = reported(service, 1)

    assert isinstance(event, Failed)
    assert event.delivery.answer == "error"
    assert retry_state_of(service).last_error == "internal error; see the log of the service"
    assert "RuntimeError in" in caplog.text
    assert "in deliver" in caplog.text  # where it was
    shown = [clear in text for text in (caplog.text, repr(pending_of(service)), repr(event))]
    assert shown == [False, False, False]


def test_an_unexpected_error_is_retried(service: Service) -> None:
    given_a_ticket(service)
    courier = FakeCourier([KeyError("a bug")])

    with delivering(service, {EMAIL: courier}) as running:
        until(partial(has_failures, service, 1), "the ticket is postponed")
        assert pending_of(service)[0].next_try == NOW + SOON
        service.clock.advance(SOON)
        running.wake()
        [event] = reported(service, 1)

    assert isinstance(event, Delivered)


def test_a_leased_ticket_is_sent_once_and_its_lease_is_extended(service: Service) -> None:
    given_a_ticket(service)
    slow, other = FakeCourier([HANGS]), FakeCourier()

    with ExitStack() as running:
        first = running.enter_context(delivering(service, {EMAIL: slow}))
        until(lambda: slow.tickets, "one worker has the ticket")
        second = running.enter_context(delivering(service, {EMAIL: other}))
        for _ in range(6):
            service.clock.advance(timedelta(seconds=11))
            first.wake()
            until(lambda: leased_until(service) >= service.clock.now + SOON, "the lease is extended")
            second.wake()
        slow.open()
        [event] = reported(service, 1)

    assert isinstance(event, Delivered)
    assert (len(slow.tickets), len(other.tickets)) == (1, 0)


def test_a_short_lease_is_extended_in_time(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("application.delivery.deliver_tickets._POLL_INTERVAL_SECONDS", 3600)
    given_a_ticket(service)
    courier, extended = FakeCourier([HANGS]), []

    def extend(_lease: str, keys: Any, until: Any) -> None:
        if keys:
            extended.append(until)

    monkeypatch.setattr(service.store, "extend", extend, raising=False)
    terms = {"lease_for": timedelta(milliseconds=200), "clock": system_clock}

    # The ticket would have expired by the system clock, so its validity is extended.
    service.modify(valid_to=system_clock() + LIFETIME)
    with delivering(service, {EMAIL: courier}, **terms):
        until(lambda: len(extended) >= 3, "the lease is extended")
        courier.open()

    assert extended == sorted(extended)


def test_the_tickets_of_a_dead_worker_are_taken_when_the_lease_expires(any_service: Service) -> None:
    given_a_ticket(any_service)
    outbox_of(any_service).take("of a dead worker", NOW, NOW + SOON, 10)
    courier = FakeCourier()

    with delivering(any_service, {EMAIL: courier}) as running:
        given_a_ticket_of_another_user(any_service)
        running.wake()
        until(lambda: len(courier.tickets) == 1, "the other ticket is leased")
        assert len(pending_of(any_service)) == 1
        any_service.clock.advance(SOON)
        running.wake()
        reported(any_service, 1)

    assert [delivery.entry.subject for delivery in courier.given][-1] == SUBJECT


def test_an_unrecorded_delivery_is_repeated_with_the_same_identity(service: Service) -> None:
    ticket, courier = given_a_ticket(service), FakeCourier()
    failures: list[Exception] = [StoreUnavailable("gone"), RuntimeError("a bug")]

    async def execute(made: Command) -> Answer:
        if failures:
            raise failures.pop()
        return service.commands.submit(made).result()

    with delivering(service, {EMAIL: courier}, execute=execute) as running:
        for count in (1, 2):
            until(partial(has_got, courier, count), "the ticket is delivered")
            service.clock.advance(SOON)
            running.wake()
        reported(service, 1)

    assert the_same(ticket, *courier.tickets)
    assert len({delivery.entry.delivery_id for delivery in courier.given}) == 1
    assert len(courier.tickets) == 3


def test_an_unreachable_store_is_retried(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("application.delivery.deliver_tickets._RETRY_DELAY_SECONDS", 0.01)
    given_a_ticket(service)
    take, failures = service.store.take, [StoreUnavailable("gone"), RuntimeError("a bug")]

    def take_or_fail(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return take(*arguments)

    monkeypatch.setattr(service.store, "take", take_or_fail, raising=False)

    with delivering(service, {EMAIL: FakeCourier()}):
        reported(service, 1)


def test_concurrent_deliveries_are_limited_per_worker(service: Service) -> None:
    for number in range(MAX_CONCURRENT + 8):
        given_a_ticket_of_another_user(service, f"user-{number}")
    one, other = FakeCourier([HANGS] * 99), FakeCourier([HANGS] * 99)

    with ExitStack() as running:
        running.enter_context(delivering(service, {EMAIL: one}))
        until(lambda: len(one.tickets) == MAX_CONCURRENT, "the limit is reached")
        second = running.enter_context(delivering(service, {EMAIL: other}))
        until(lambda: len(other.tickets) == 8, "the other worker has the rest")
        second.wake()
        one.open()
        other.open()
        until(lambda: not service.store.outbox_page(None, 1), "the outbox is empty")

    assert (len(one.tickets), len(other.tickets)) == (MAX_CONCURRENT, 8)


def test_a_free_slot_is_used_immediately(service: Service) -> None:
    for number in range(MAX_CONCURRENT + 1):
        given_a_ticket_of_another_user(service, f"user-{number}")
    courier = FakeCourier([HANGS] * MAX_CONCURRENT)

    with delivering(service, {EMAIL: courier}):
        until(lambda: len(courier.tickets) == MAX_CONCURRENT, "the limit is reached")
        courier.open()
        until(lambda: not service.store.outbox_page(None, 1), "the outbox is empty")


def test_a_stop_waits_for_running_deliveries(service: Service) -> None:
    given_a_ticket(service)
    courier = FakeCourier([HANGS])

    with delivering(service, {EMAIL: courier}) as running:
        until(lambda: courier.tickets, "the delivery is running")
        running.ask_to_stop()
        courier.open()
        running.stop()

    assert [type(event) for event in recorded_of(service.store)] == [Delivered]


def test_a_stop_cancels_a_slow_delivery_and_releases_its_lease(
    any_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.delivery.deliver_tickets._STOP_TIMEOUT_SECONDS", 0.05)
    ticket = given_a_ticket(any_service)
    hanging, other = FakeCourier([HANGS]), FakeCourier()

    with delivering(any_service, {EMAIL: hanging}) as running:
        until(lambda: hanging.tickets, "the delivery is running")
        running.stop()
    with delivering(any_service, {EMAIL: other}):
        reported(any_service, 1)

    assert the_same(ticket, *hanging.tickets, *other.tickets)


def test_a_ticket_leased_during_a_stop_is_released(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    given_a_ticket(service)
    take, taken, is_current = service.store.take, threading.Event(), threading.Event()

    def take_slowly(*arguments: Any) -> Any:
        found = take(*arguments)
        taken.set()
        is_current.wait(10)
        return found

    monkeypatch.setattr(service.store, "take", take_slowly, raising=False)
    with delivering(service, {EMAIL: FakeCourier()}) as running:
        assert taken.wait(10)
        running.ask_to_stop()
        running.wake()  # runs after the stop
        is_current.set()
        running.stop()

    assert len(take("another", NOW, NOW + SOON, 10)) == 1


def test_two_workers_deliver_each_ticket_once(database_url: str) -> None:
    users = [Subject("client-123", f"user-{number}") for number in range(40)]
    with ExitStack() as opened:
        stores = [open_store(database_url), open_store(database_url)]
        for store in stores:
            opened.callback(store.close)
        service = opened.enter_context(service_over(stores[0]))
        second = Service(stores[1], clock=service.clock, sealer=service.sealer)
        opened.callback(second.commands.close)
        for kind in (RegisterUser, CreateTicket, RegenerateTicket):
            more = {"email": "user@example.com"} if kind is RegisterUser else {}
            made = [service.commands.submit(command(kind, subject=user, **more)) for user in users]
            for future in made:
                future.result().unwrap()
        couriers = [FakeCourier(), FakeCourier()]

        with delivering(service, {EMAIL: couriers[0]}), delivering(second, {EMAIL: couriers[1]}):
            until(lambda: not stores[0].outbox_page(None, 1), "the outbox is empty")

        calls = Counter(delivery.entry.key for courier in couriers for delivery in courier.given)
        kinds = [[type(event) for event in recorded_of(stores[0], user)] for user in users]
        faults = [
            *check_streams("client-123", *stream_ranges(1)[0], ledger=stores[0]).faults,
            *check_ledger("client-123", ledger=stores[0], verifier=_AnyVerifier()).faults,
        ]
    assert calls == Counter({DeliveryKey("client-123", stream_id(*user), 2): 1 for user in users})
    assert all(sorted(found, key=str) == [Delivered, Ended] for found in kinds)
    assert faults == []


class _AnyVerifier:
    def verify(self, _checkpoint: Checkpoint) -> bool:
        return False
