"""Contract of every Store: the expiry of a ticket is announced once and recorded once."""

import itertools
from collections.abc import Callable
from datetime import timedelta

import pytest

from application.tickets.expire_tickets import ExpiryReport, expire_tickets
from domain.policies.policy import TicketPolicy
from domain.shared.subject import Subject
from domain.tickets.states import State
from tests.support.fakes import TRACEPARENT
from tests.support.service import AnyStore, Service
from tests.support.stores import history_of

_ids = itertools.count()


def user(number: int) -> Subject:
    return Subject("client-123", f"user-{number}")


def given_tickets(service: Service, count: int) -> None:
    for number in range(count):
        service.register(subject=user(number))
        service.create(subject=user(number))


def expire(service: Service, stopped: Callable[[], bool] = lambda: False) -> ExpiryReport | None:
    return expire_tickets(
        store=service.store,
        tickets=service.store,
        clock=service.clock,
        submit=service.commands.submit,
        new_command_id=lambda: f"expiry-{next(_ids)}",
        correlation_id=TRACEPARENT,
        stopped=stopped,
    )


def events(service: Service, number: int) -> list[str]:
    return [type(event).__name__ for event in history_of(service.store, user(number))]


def test_each_expiry_is_announced_once_and_recorded_once(service: Service) -> None:
    given_tickets(service, 3)

    assert [expire(service), expire(service)] == [ExpiryReport(soon=3), ExpiryReport()]
    service.clock.advance(timedelta(days=5))
    assert [expire(service), expire(service)] == [ExpiryReport(ended=3), ExpiryReport()]
    assert events(service, 1) == ["TicketCreated", "TicketExpirySoon", "TicketExpired"]


def test_the_policy_sets_the_warning_period(service: Service) -> None:
    service.define("default", policy=TicketPolicy(close_to_expiration_threshold=2))
    service.define("never", policy=TicketPolicy(close_to_expiration_threshold=-1))
    given_tickets(service, 2)
    service.modify(subject=user(1), policy_ext_id="never")

    assert expire(service) == ExpiryReport()
    service.clock.advance(timedelta(days=3))
    assert expire(service) == ExpiryReport(soon=1)
    service.clock.advance(timedelta(days=2))
    assert expire(service) == ExpiryReport(ended=2)


def test_a_new_ticket_is_announced_again(service: Service) -> None:
    given_tickets(service, 1)
    service.clock.advance(timedelta(days=5))
    expire(service)

    service.regenerate(subject=user(0))

    assert expire(service) == ExpiryReport(soon=1)


def test_unusable_tickets_have_no_expiry_events(service: Service) -> None:
    given_tickets(service, 3)
    service.modify(subject=user(0), state=State.DISABLED)
    service.modify(subject=user(1), state=State.ARCHIVED)
    service.delete(subject=user(2))
    service.clock.advance(timedelta(days=9))

    assert expire(service) == ExpiryReport()
    service.modify(subject=user(0), state=State.ACTIVE)
    assert expire(service) == ExpiryReport(ended=1)


def test_a_stop_ends_the_run_and_the_next_run_continues(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.tickets.expire_tickets.PAGE", 2)
    given_tickets(service, 5)
    looks = iter([False, True])

    assert expire(service, lambda: next(looks)) == ExpiryReport(soon=2)
    assert expire(service) == ExpiryReport(soon=3)


def test_one_process_at_a_time_records_expiry(service: Service, open_store: Callable[[], AnyStore]) -> None:
    given_tickets(service, 1)

    with open_store().lease("expire") as held:
        assert held
        assert expire(service) is None
    assert expire(service) == ExpiryReport(soon=1)
