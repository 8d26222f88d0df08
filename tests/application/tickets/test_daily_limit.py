"""The limit on the tickets of a user per UTC day (both stores where processes compete)."""

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from msgspec import UNSET
from pydantic import ValidationError

from application.tickets.regenerate_ticket import RegenerateTicket
from domain.policies.policy import TicketPolicy
from domain.shared.errors import Refusal
from domain.tickets.daily_limit import DailyLimitReached
from domain.tickets.events import WrongTicketPresented
from domain.tickets.evolution import evolve, fold
from interface.settings import Settings
from tests.support.evidence import open_store
from tests.support.fakes import SUBJECT
from tests.support.service import Service, command, service_over
from tests.support.stores import history_of, state_of, temporary_store

LIMIT = 3
LIMITED = TicketPolicy(max_daily_delivery_count=LIMIT)


@pytest.fixture
def ticket(service: Service) -> Service:
    """Given a user with a ticket, the first of the day."""
    service.define("default", policy=LIMITED)
    service.register()
    service.create()
    return service


def test_the_limit_is_20_by_default() -> None:
    limit = Settings().max_daily_deliveries
    with temporary_store() as store, service_over(store, max_daily_deliveries=limit) as service:
        service.register()
        service.create()
        for _ in range(19):
            service.regenerate()

        with pytest.raises(DailyLimitReached, match="At most 20 tickets"):
            service.regenerate()


@pytest.mark.parametrize("limit", [0, -2])
def test_a_setting_that_permits_no_ticket_is_refused(limit: int) -> None:
    with pytest.raises(ValidationError, match="must be -1"):
        Settings(max_daily_deliveries=limit)


def test_a_refusal_names_the_limit_and_its_end(ticket: Service) -> None:
    ticket.regenerate()
    ticket.regenerate()

    with pytest.raises(DailyLimitReached) as refused:
        ticket.regenerate()

    assert str(refused.value) == (
        "At most 3 tickets are sent to a user per UTC day. Retry from 2026-11-24T00:00:00Z."
    )
    assert str(refused.value.retry_from) == "2026-11-24 00:00:00+00:00"
    assert ticket.verify(ticket.newest())["verified"]


def test_the_count_restarts_on_the_next_utc_day(ticket: Service) -> None:
    for _ in range(2):
        ticket.regenerate()
    ticket.clock.now = ticket.clock.now.replace(hour=23, minute=59, second=59)
    with pytest.raises(DailyLimitReached):
        ticket.regenerate()

    ticket.clock.advance(timedelta(seconds=1))

    for _ in range(LIMIT):
        ticket.regenerate()
    with pytest.raises(DailyLimitReached):
        ticket.regenerate()


def test_a_clock_behind_another_does_not_restart_the_count(ticket: Service) -> None:
    second = timedelta(seconds=1)
    midnight = ticket.clock.now.replace(hour=0, minute=0) + timedelta(days=1)
    ticket.clock.now = midnight
    ticket.regenerate()
    for time in (midnight - second, midnight, midnight - second):
        ticket.clock.now = time
        ticket.verify("wrong")
        if ticket.clock.now < midnight:
            ticket.regenerate()

    ticket.clock.now = midnight
    with pytest.raises(DailyLimitReached):
        ticket.regenerate()
    ticket.clock.now -= second
    with pytest.raises(DailyLimitReached, match="2026-11-25T00:00:00Z"):
        ticket.regenerate()
    assert fold(None, history_of(ticket.store, SUBJECT)) == state_of(ticket.store, SUBJECT)


def created_again(service: Service) -> None:
    service.delete()
    service.create()


def registered_again(service: Service) -> None:
    service.erase()
    service.register()
    service.create()


def verified(service: Service) -> None:
    service.regenerate()
    service.verify("wrong")
    service.verify(service.newest())
    service.modify(reason="noted")


@pytest.mark.parametrize("way", [Service.regenerate, created_again, registered_again, verified])
def test_every_ticket_of_the_day_counts(ticket: Service, way: Callable[[Service], object]) -> None:
    for _ in range(LIMIT - 1):
        way(ticket)

    with pytest.raises(DailyLimitReached):
        way(ticket)

    assert fold(None, history_of(ticket.store, SUBJECT)) == state_of(ticket.store, SUBJECT)


def test_an_event_of_release_1_0_leads_to_the_default_as_its_row_does(ticket: Service) -> None:
    ticket.regenerate()
    ticket.verify("wrong")
    *former, newest = history_of(ticket.store, SUBJECT)
    state = fold(None, former)
    assert isinstance(newest, WrongTicketPresented)
    assert state

    assert (state.daily_delivery_count, newest.daily_delivery_count) == (2, 2)
    assert evolve(state, replace(newest, daily_delivery_count=UNSET)).daily_delivery_count == 0


def test_a_supervisor_exceeds_the_limit_and_is_counted(ticket: Service) -> None:
    for _ in range(5):
        ticket.regenerate(overrides_limit=True)

    assert state_of(ticket.store, SUBJECT).daily_delivery_count == 6
    with pytest.raises(DailyLimitReached):
        ticket.regenerate()


def test_a_policy_without_a_limit_permits_any_number(ticket: Service) -> None:
    ticket.define("default", policy=TicketPolicy(max_daily_delivery_count=-1))

    assert [ticket.regenerate().version for _ in range(30)][-1] == 31


def test_a_refused_reset_with_an_idempotency_key_succeeds_on_the_next_day(ticket: Service) -> None:
    key = {"command_id": "key", "retryable": True}
    for _ in range(2):
        ticket.regenerate()
    with pytest.raises(DailyLimitReached):
        ticket.regenerate(**key)

    ticket.clock.advance(timedelta(days=1))

    assert ticket.regenerate(**key).version == 4


def reset_repeatedly(database_url: str) -> int:
    """Reset until the limit is reached, and return the number of resets."""
    store = open_store(database_url)
    done = 0
    with service_over(store) as service:
        for _ in range(20):
            try:
                service.execute(command(RegenerateTicket))
                done += 1
            except Refusal:
                break
    store.close()
    return done


def test_the_limit_holds_for_concurrent_processes(database_url: str) -> None:
    store = open_store(database_url)
    with service_over(store) as service:
        service.define("default", policy=TicketPolicy(max_daily_delivery_count=10))
        service.register()
        service.create()

    with multiprocessing.get_context("spawn").Pool(3) as pool:
        done = pool.map(reset_repeatedly, [database_url] * 3)

    assert sum(done) == 9
    assert state_of(store, SUBJECT).reset_count == 9
    store.close()
