"""A ticket that waits is handed over by the first method that can, as long as it opens something; and is let go after.

With the fake store; where leases and transactions matter, with both real ones.
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
from domain.tickets.states import State
from domain.tickets.ticket import ClearTicket
from domain.tickets.ticket_credential import stream_id
from interface.outbound.system import system_clock
from tests.support.delivering import (
    HANGS,
    FakeCourier,
    delivering,
    later,
    never,
    outbox_of,
    said_of,
)
from tests.support.evidence import open_store
from tests.support.fakes import NOW, SUBJECT
from tests.support.server import until
from tests.support.service import Service, command, service_over
from tests.support.stores import temporary_store

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
WHOLE_LIFE = TicketPolicy().lifetime


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
    service.register(postal_address=("Bahnhofstrasse 1", "8001 Zürich"))
    service.create()
    return service.newest()


def waiting_of(service: Service) -> list[PendingDelivery]:
    return list(outbox_of(service).waiting(SUBJECT))


def leased_until(service: Service) -> datetime:
    [(moment,)] = service.store._fetch("SELECT leased_until FROM outbox", ())
    return datetime.fromisoformat(moment)


def trying_of(service: Service) -> RetryState:
    return waiting_of(service)[0].trying


def failed_so_often(service: Service, count: int) -> bool:
    return trying_of(service).failures == count


def tried_so_often(service: Service, count: int) -> bool:
    return trying_of(service).attempts == count


def has_got(courier: FakeCourier, count: int) -> bool:
    return len(courier.tickets) == count


def said(service: Service, count: int) -> list[DeliveryEvent]:
    """Wait until so much is recorded, and return it."""
    until(lambda: len(said_of(service.store)) >= count, f"{count} records")
    return said_of(service.store)


def the_same(one: ClearTicket, *others: ClearTicket) -> bool:
    return all(one.reveal() == other.reveal() for other in others)


def test_a_ticket_is_handed_over_recorded_and_no_longer_kept(any_service: Service) -> None:
    ticket, courier = given_a_ticket(any_service), FakeCourier()

    with delivering(any_service, {EMAIL: courier}):
        [event] = said(any_service, 1)

    assert isinstance(event, Delivered)
    assert event.delivery == Attempt(method=EMAIL, attempt=1, recipient="u***@e***.com", answer="250")
    assert (event.actor, event.ticket_version, event.timestamp) == ("tickets deliver", 1, NOW)
    assert the_same(ticket, *courier.tickets)
    assert waiting_of(any_service) == []


def test_a_ticket_that_is_minted_while_it_looks_is_handed_over_as_soon_as_it_is_told(
    service: Service,
) -> None:
    courier = FakeCourier()

    with delivering(service, {EMAIL: courier}) as running:
        given_a_ticket(service)
        running.wake()
        service.regenerate()
        running.wake()
        until(lambda: courier.versions[-1:] == [2], "the newest is handed over")

    assert the_same(service.newest(), courier.tickets[-1])


def test_a_method_that_can_never_work_gives_way_to_the_next_at_once(service: Service) -> None:
    ticket = given_a_ticket(service, LETTER, HTML, EMAIL)
    letter, mail = FakeCourier([never("no postal address")]), FakeCourier()

    with delivering(service, {LETTER: letter, EMAIL: mail}):
        [event] = said(service, 1)

    assert isinstance(event, Delivered)
    assert event.delivery == Attempt(method=EMAIL, attempt=3, recipient="u***@e***.com", answer="250")
    assert the_same(ticket, *letter.tickets, *mail.tickets)


def test_one_that_fails_for_a_while_is_tried_again_after_growing_waits(service: Service) -> None:
    given_a_ticket(service)
    courier = FakeCourier([later(), later("too busy"), later()])
    waits = []

    with delivering(service, {EMAIL: courier}) as running:
        for attempt in (1, 2, 3):
            until(partial(failed_so_often, service, attempt), "it is put off")
            [found] = waiting_of(service)
            assert found.next_try
            waits.append((found.next_try - service.clock.now).total_seconds())
            assert (found.standing, found.trying.attempts) == (OutboxStatus.QUEUED, attempt)
            assert found.trying.failing_since == NOW
            service.clock.now = found.next_try
            running.wake()
        [event] = said(service, 1)

    assert waits == [30, 60, 120]
    assert isinstance(event, Delivered)
    assert event.delivery.attempt == 4


def test_before_its_time_has_come_it_is_not_tried_again(service: Service) -> None:
    given_a_ticket(service)
    courier = FakeCourier([later()])

    with delivering(service, {EMAIL: courier}) as running:
        until(partial(failed_so_often, service, 1), "it is put off")
        service.clock.advance(SOON - timedelta(seconds=1))
        given_a_ticket_of_another(service)
        running.wake()
        until(lambda: len(courier.tickets) == 2, "the other ticket is taken")

    assert trying_of(service).attempts == 1


def given_a_ticket_of_another(service: Service, name: str = "another") -> None:
    service.register(subject=Subject("client-123", name))
    service.create(subject=Subject("client-123", name))


def test_a_method_that_has_failed_for_long_enough_gives_way_to_the_next(service: Service) -> None:
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
            until(partial(tried_so_often, service, attempts), "it is put off")
            service.clock.advance(timedelta(minutes=20))
            running.wake()
        [event] = said(service, 1)

    # The third failure of the first is so late that the next would be after the hour; the second's hour begins anew.
    assert (len(html.tickets), len(mail.tickets)) == (3, 2)
    assert isinstance(event, Delivered)
    assert (event.delivery.method, event.delivery.attempt) == (EMAIL, 5)


def test_after_the_last_failure_that_is_recorded_and_the_ticket_kept_until_it_ends(
    any_service: Service,
) -> None:
    given_a_ticket(any_service, LETTER, EMAIL)
    letter, mail = FakeCourier([never()]), FakeCourier([never("unknown there", "550")])

    with delivering(any_service, {LETTER: letter, EMAIL: mail}) as running:
        [event] = said(any_service, 1)
        assert isinstance(event, Failed)
        assert event.delivery == Attempt(method=EMAIL, attempt=2, recipient="u***@e***.com", answer="550")
        [kept] = waiting_of(any_service)
        assert (kept.standing, kept.next_try) == (OutboxStatus.FAILED, NOW + WHOLE_LIFE)
        assert kept.trying.last_error == "unknown there"

        any_service.clock.advance(WHOLE_LIFE - timedelta(seconds=1))
        given_a_ticket_of_another(any_service)
        running.wake()
        until(lambda: len(letter.tickets) == 2, "the other ticket is taken")
        assert len(waiting_of(any_service)) == 1

        any_service.clock.advance(timedelta(seconds=1))
        running.wake()
        _, ended = said(any_service, 2)

    assert isinstance(ended, Ended)
    assert (ended.why, ended.originator_version) == (Obsolete.EXPIRED, 2)
    assert waiting_of(any_service) == []
    assert len(mail.tickets) == 1


def test_what_has_failed_is_kept_for_longer_where_the_ticket_is(service: Service) -> None:
    given_a_ticket(service)

    with delivering(service, {EMAIL: FakeCourier([never()])}) as running:
        said(service, 1)
        service.modify(valid_to=NOW + 2 * WHOLE_LIFE)
        service.clock.advance(WHOLE_LIFE)
        running.wake()
        until(lambda: waiting_of(service)[0].next_try == NOW + 2 * WHOLE_LIFE, "it is put off")

    assert waiting_of(service)[0].standing is OutboxStatus.FAILED
    assert len(said_of(service.store)) == 1


def test_what_has_failed_is_tried_again_by_every_method_when_somebody_asks(any_service: Service) -> None:
    ticket = given_a_ticket(any_service, LETTER, EMAIL)
    letter, mail = FakeCourier([never(), never()]), FakeCourier([never()])

    with delivering(any_service, {LETTER: letter, EMAIL: mail}) as running:
        said(any_service, 1)
        any_service.execute(command(RetryDeliveries))
        running.wake()
        _, event = said(any_service, 2)

    assert isinstance(event, Delivered)
    assert (event.delivery.method, event.delivery.attempt, event.originator_version) == (EMAIL, 2, 2)
    assert the_same(ticket, *letter.tickets, *mail.tickets)
    assert (len(letter.tickets), len(mail.tickets)) == (2, 2)


def test_a_retry_does_not_wait_for_the_next_try(service: Service) -> None:
    given_a_ticket(service)
    courier = FakeCourier([later()])

    with delivering(service, {EMAIL: courier}) as running:
        until(partial(failed_so_often, service, 1), "it is put off")
        service.execute(command(RetryDeliveries))
        running.wake()
        [event] = said(service, 1)

    assert isinstance(event, Delivered)
    assert event.delivery.attempt == 1


def _create_again(service: Service, user: Subject) -> None:
    service.delete(subject=user)
    service.clock.advance(timedelta(seconds=1))
    service.create(subject=user)


# What is done to a user's ticket, why it is not sent then, and which is.
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
    "expired": (lambda service, _user: service.clock.advance(WHOLE_LIFE), Obsolete.EXPIRED, []),
}


def ended(service: Service, user: Subject = SUBJECT) -> list[tuple[Obsolete, int]]:
    found = said_of(service.store, user)
    return [(event.why, event.ticket_version) for event in found if isinstance(event, Ended)]


def test_a_ticket_that_opens_nothing_any_more_is_not_sent(any_service: Service) -> None:
    users = {end: Subject("client-123", end) for end in ENDS if end != "expired"}
    for end, user in users.items():
        given_a_ticket_of_another(any_service, user.user_ext_id)
        ENDS[end][0](any_service, user)
    courier = FakeCourier()

    with delivering(any_service, {EMAIL: courier}):
        until(lambda: not outbox_of(any_service).outbox_page(None, 1), "nothing waits")

    for end, user in users.items():
        _, why, sent = ENDS[end]
        assert ended(any_service, user) == [(why, 1)]
        assert [w.entry.version for w in courier.waiting if w.entry.subject == user] == sent


@pytest.mark.parametrize("end", ENDS)
def test_one_that_failed_before_is_looked_at_anew_before_each_try(service: Service, end: str) -> None:
    change, why, _ = ENDS[end]
    given_a_ticket(service)
    courier = FakeCourier([later()])

    with delivering(service, {EMAIL: courier}) as running:
        until(partial(failed_so_often, service, 1), "it is put off")
        change(service, SUBJECT)
        service.clock.advance(SOON)
        running.wake()
        until(lambda: waiting_of(service) == [], "nothing waits")

    assert ended(service) == [(why, 1)]
    assert courier.versions.count(1) == 1


def test_a_disabled_ticket_is_sent_for_it_may_be_enabled(service: Service) -> None:
    given_a_ticket(service)
    service.modify(state=State.DISABLED)

    with delivering(service, {EMAIL: FakeCourier()}):
        [event] = said(service, 1)

    assert isinstance(event, Delivered)


def test_where_the_policy_ends_with_none_nothing_is_kept(service: Service) -> None:
    given_a_ticket(service, EMAIL, NONE)

    with delivering(service, {EMAIL: FakeCourier([never()])}):
        [event] = said(service, 1)

    assert isinstance(event, Ended)
    assert event.why is Obsolete.NOT_SENT
    assert waiting_of(service) == []


def test_where_no_method_is_set_up_the_ticket_is_kept_and_says_so(service: Service) -> None:
    given_a_ticket(service, WEBHOOK)

    with delivering(service, {}):
        [event] = said(service, 1)

    assert isinstance(event, Failed)
    assert event.delivery == Attempt(method=WEBHOOK, attempt=1, recipient=None, answer="not-set-up")
    assert trying_of(service).last_error == "Webhook is not set up here"


def test_a_seal_that_does_not_open_is_tried_again_since_its_key_may_come_back(service: Service) -> None:
    given_a_ticket(service)
    [(bound_to, secret)] = service.sealer.sealed
    service.sealer.sealed[0] = ("another row", secret)
    courier = FakeCourier()

    with delivering(service, {EMAIL: courier}) as running:
        until(partial(failed_so_often, service, 1), "it is put off")
        assert courier.tickets == []
        assert trying_of(service).last_error == "moved"
        service.sealer.sealed[0] = (bound_to, secret)
        service.clock.advance(SOON)
        running.wake()
        [event] = said(service, 1)

    assert isinstance(event, Delivered)


class _Talkative:
    """Fails, and tells everybody the ticket."""

    async def deliver(self, ticket: ClearTicket, _waiting: PendingDelivery) -> NoReturn:
        raise RuntimeError(f"cannot send {ticket.reveal()}") from ValueError(ticket.reveal())


def test_what_a_courier_says_unasked_is_kept_and_logged_nowhere(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    clear = given_a_ticket(service, HTML, EMAIL).reveal()
    soon = Retries(first=SOON, longest=SOON, give_up_after=SOON, jitter=lambda: 0.5)

    with delivering(service, {HTML: _Talkative(), EMAIL: _Talkative()}, retries=soon):
        [event] = said(service, 1)

    assert isinstance(event, Failed)
    assert event.delivery.answer == "error"
    assert trying_of(service).last_error == "an error of the service, which its log has"
    assert "RuntimeError in" in caplog.text
    assert "in deliver" in caplog.text  # where it was
    told = [clear in text for text in (caplog.text, repr(waiting_of(service)), repr(event))]
    assert told == [False, False, False]


def test_an_unforeseen_error_is_tried_again_like_any_other_failure(service: Service) -> None:
    given_a_ticket(service)
    courier = FakeCourier([KeyError("a bug")])

    with delivering(service, {EMAIL: courier}) as running:
        until(partial(failed_so_often, service, 1), "it is put off")
        assert waiting_of(service)[0].next_try == NOW + SOON
        service.clock.advance(SOON)
        running.wake()
        [event] = said(service, 1)

    assert isinstance(event, Delivered)


def test_what_one_has_taken_no_other_sends_and_it_is_kept_for_as_long_as_it_takes(service: Service) -> None:
    given_a_ticket(service)
    slow, other = FakeCourier([HANGS]), FakeCourier()

    with ExitStack() as running:
        first = running.enter_context(delivering(service, {EMAIL: slow}))
        until(lambda: slow.tickets, "one has it")
        second = running.enter_context(delivering(service, {EMAIL: other}))
        for _ in range(6):
            service.clock.advance(timedelta(seconds=11))
            first.wake()
            until(lambda: leased_until(service) >= service.clock.now + SOON, "the lease is extended")
            second.wake()
        slow.open()
        [event] = said(service, 1)

    assert isinstance(event, Delivered)
    assert (len(slow.tickets), len(other.tickets)) == (1, 0)


def test_a_short_lease_is_extended_in_time_while_nothing_else_happens(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.delivery.deliver_tickets._POLL_INTERVAL_SECONDS", 3600)
    given_a_ticket(service)
    courier, extended = FakeCourier([HANGS]), []

    def extend(_lease: str, keys: Any, until: Any) -> None:
        if keys:
            extended.append(until)

    monkeypatch.setattr(service.store, "extend", extend, raising=False)
    terms = {"lease_for": timedelta(milliseconds=200), "clock": system_clock}

    # By the clock of the system the ticket has ended, but for that its validity is moved.
    service.modify(valid_to=system_clock() + WHOLE_LIFE)
    with delivering(service, {EMAIL: courier}, **terms):
        until(lambda: len(extended) >= 3, "the lease is extended")
        courier.open()

    assert extended == sorted(extended)


def test_of_a_worker_that_died_its_tickets_are_taken_when_the_lease_ends(any_service: Service) -> None:
    given_a_ticket(any_service)
    outbox_of(any_service).take("of a dead one", NOW, NOW + SOON, 10)
    courier = FakeCourier()

    with delivering(any_service, {EMAIL: courier}) as running:
        given_a_ticket_of_another(any_service)
        running.wake()
        until(lambda: len(courier.tickets) == 1, "the other ticket is taken")
        assert len(waiting_of(any_service)) == 1
        any_service.clock.advance(SOON)
        running.wake()
        said(any_service, 1)

    assert [waiting.entry.subject for waiting in courier.waiting][-1] == SUBJECT


def test_what_was_handed_over_and_not_recorded_is_handed_over_again_as_the_same(service: Service) -> None:
    ticket, courier = given_a_ticket(service), FakeCourier()
    failures: list[Exception] = [StoreUnavailable("gone"), RuntimeError("a bug")]

    async def execute(made: Command) -> Answer:
        if failures:
            raise failures.pop()
        return service.commands.submit(made).result()

    with delivering(service, {EMAIL: courier}, execute=execute) as running:
        for count in (1, 2):
            until(partial(has_got, courier, count), "it is handed over")
            service.clock.advance(SOON)
            running.wake()
        said(service, 1)

    assert the_same(ticket, *courier.tickets)
    assert len({waiting.entry.delivery_id for waiting in courier.waiting}) == 1
    assert len(courier.tickets) == 3


def test_a_store_that_is_out_of_reach_is_asked_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.delivery.deliver_tickets._AGAIN_AFTER_SECONDS", 0.01)
    given_a_ticket(service)
    take, failures = service.store.take, [StoreUnavailable("gone"), RuntimeError("a bug")]

    def take_or_fail(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return take(*arguments)

    monkeypatch.setattr(service.store, "take", take_or_fail, raising=False)

    with delivering(service, {EMAIL: FakeCourier()}):
        said(service, 1)


def test_so_many_are_under_way_at_once_and_another_worker_takes_the_others(service: Service) -> None:
    for number in range(MAX_CONCURRENT + 8):
        given_a_ticket_of_another(service, f"user-{number}")
    one, other = FakeCourier([HANGS] * 99), FakeCourier([HANGS] * 99)

    with ExitStack() as running:
        running.enter_context(delivering(service, {EMAIL: one}))
        until(lambda: len(one.tickets) == MAX_CONCURRENT, "as many as there is room for")
        second = running.enter_context(delivering(service, {EMAIL: other}))
        until(lambda: len(other.tickets) == 8, "the others")
        second.wake()
        one.open()
        other.open()
        until(lambda: not service.store.outbox_page(None, 1), "nothing waits")

    assert (len(one.tickets), len(other.tickets)) == (MAX_CONCURRENT, 8)


def test_where_there_was_no_room_the_next_are_taken_as_soon_as_there_is(service: Service) -> None:
    for number in range(MAX_CONCURRENT + 1):
        given_a_ticket_of_another(service, f"user-{number}")
    courier = FakeCourier([HANGS] * MAX_CONCURRENT)

    with delivering(service, {EMAIL: courier}):
        until(lambda: len(courier.tickets) == MAX_CONCURRENT, "as many as there is room for")
        courier.open()
        until(lambda: not service.store.outbox_page(None, 1), "nothing waits")


def test_a_stop_lets_what_is_under_way_end_and_be_recorded(service: Service) -> None:
    given_a_ticket(service)
    courier = FakeCourier([HANGS])

    with delivering(service, {EMAIL: courier}) as running:
        until(lambda: courier.tickets, "it is under way")
        running.ask_to_stop()
        courier.open()
        running.stop()

    assert [type(event) for event in said_of(service.store)] == [Delivered]


def test_what_does_not_end_soon_is_cut_off_and_another_takes_it_at_once(
    any_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.delivery.deliver_tickets._STOP_TIMEOUT_SECONDS", 0.05)
    ticket = given_a_ticket(any_service)
    hanging, other = FakeCourier([HANGS]), FakeCourier()

    with delivering(any_service, {EMAIL: hanging}) as running:
        until(lambda: hanging.tickets, "it is under way")
        running.stop()
    with delivering(any_service, {EMAIL: other}):
        said(any_service, 1)

    assert the_same(ticket, *hanging.tickets, *other.tickets)


def test_what_is_taken_while_it_stops_is_let_go(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    given_a_ticket(service)
    take, taken, goes_on = service.store.take, threading.Event(), threading.Event()

    def take_slowly(*arguments: Any) -> Any:
        found = take(*arguments)
        taken.set()
        goes_on.wait(10)
        return found

    monkeypatch.setattr(service.store, "take", take_slowly, raising=False)
    with delivering(service, {EMAIL: FakeCourier()}) as running:
        assert taken.wait(10)
        running.ask_to_stop()
        running.wake()  # which comes after: the stop has been heard
        goes_on.set()
        running.stop()

    assert len(take("another", NOW, NOW + SOON, 10)) == 1


def test_two_workers_over_one_store_hand_each_ticket_over_once(database_url: str) -> None:
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
            until(lambda: not stores[0].outbox_page(None, 1), "nothing waits")

        handed_over = Counter(waiting.entry.key for courier in couriers for waiting in courier.waiting)
        kinds = [[type(event) for event in said_of(stores[0], user)] for user in users]
        faults = [
            *check_streams("client-123", *stream_ranges(1)[0], ledger=stores[0]).faults,
            *check_ledger("client-123", ledger=stores[0], verifier=_Nobody()).faults,
        ]
    assert handed_over == Counter({DeliveryKey("client-123", stream_id(*user), 2): 1 for user in users})
    assert all(sorted(found, key=str) == [Delivered, Ended] for found in kinds)
    assert faults == []


class _Nobody:
    def verify(self, _checkpoint: Checkpoint) -> bool:
        return False
