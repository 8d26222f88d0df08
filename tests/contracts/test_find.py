"""Contract of every Store: searches, and pagination during concurrent writes."""

from datetime import timedelta
from typing import Any

import pytest

from application.tickets.find_tickets import PageKey, TicketQuery, find_tickets, page_key_of
from application.tickets.records import TicketNotFound
from application.users.find_users import find_users
from application.users.records import UserNotFound
from domain.delivery.ticket_delivery import Obsolete
from domain.shared.subject import Subject
from domain.tickets.events import TicketDeleted
from domain.tickets.evolution import fold
from domain.tickets.states import State
from tests.support.fakes import NOW, SUBJECT
from tests.support.service import AnyStore, Service
from tests.support.stores import history_of, live_ticket, state_of, stored_user


def user(number: int) -> Subject:
    return Subject("client-123", f"user-{number:02}")


def given_tickets(service: Service, count: int) -> None:
    """Create one ticket per minute, starting at 09:42."""
    for number in range(count):
        service.register(subject=user(number))
        service.create(subject=user(number))
        service.clock.advance(timedelta(minutes=1))


def found(service: Service, limit: int = 1000, **conditions: Any) -> list[str]:
    """Return the users of the tickets found on all pages."""
    query = TicketQuery("client-123", service.clock(), **conditions)
    users: list[str] = []
    place: PageKey | None = None
    while True:
        page = find_tickets(query, place, limit, store=service.store)
        users += [row.user_ext_id for row in page.items]
        if not page.more:
            return users
        place = page_key_of(page.items[-1], query)


def test_pages_contain_each_ticket_once(service: Service) -> None:
    given_tickets(service, 7)

    for limit in (1, 2, 3, 7, 8):
        assert found(service, limit) == [f"user-{number:02}" for number in range(7)]


def test_another_client_and_a_deleted_ticket_are_not_found(service: Service) -> None:
    given_tickets(service, 2)
    other = Subject("client-2", "user-00")
    service.register(subject=other)
    service.create(subject=other)
    service.delete(subject=user(0))

    assert found(service) == ["user-01"]


def test_the_filter_uses_the_current_state(service: Service) -> None:
    given_tickets(service, 3)
    service.modify(subject=user(0), state=State.DISABLED)
    for _ in range(2):
        service.verify("wrong", subject=user(1))

    assert found(service, state=State.DISABLED) == ["user-00"]
    assert found(service, state=State.TMP_LOCKED) == ["user-01"]
    assert found(service, state=State.ACTIVE) == ["user-02"]
    service.clock.advance(timedelta(minutes=1))
    assert found(service, state=State.TMP_LOCKED) == []
    assert found(service, state=State.ACTIVE) == ["user-01", "user-02"]


def test_filters_are_combined(service: Service) -> None:
    given_tickets(service, 6)
    service.define("letters")
    for number in (1, 3, 5):
        service.modify(subject=user(number), policy_ext_id="letters")
    service.modify(subject=user(5), valid_to=NOW + timedelta(days=1))
    end = NOW + timedelta(days=5, minutes=2)

    assert found(service, policy_ext_id="letters") == ["user-01", "user-03", "user-05"]
    assert found(service, 1, expires_before=end) == ["user-05", "user-00", "user-01"]
    assert found(service, policy_ext_id="letters", expires_before=end) == ["user-05", "user-01"]
    assert found(service, 1, last_modified_after=NOW + timedelta(minutes=3)) == [
        "user-04",
        "user-01",
        "user-03",
        "user-05",
    ]


def test_concurrent_writes_neither_hide_nor_repeat_unchanged_tickets(service: Service) -> None:
    given_tickets(service, 10)
    query = TicketQuery("client-123", service.clock())

    first = find_tickets(query, None, 4, store=service.store)
    for number in (0, 3, 4):
        service.delete(subject=user(number))
    service.regenerate(subject=user(1))
    second = find_tickets(query, page_key_of(first.items[-1], query), 100, store=service.store)

    assert [row.user_ext_id for row in second.items] == [f"user-{number:02}" for number in range(5, 10)]


def test_users_are_sorted_by_id(service: Service) -> None:
    for number in (2, 0, 1):
        service.register(subject=user(number))

    first = find_users("client-123", "", 2, store=service.store)
    rest = find_users("client-123", first.items[-1].user_ext_id, 2, store=service.store)

    assert [r.user_ext_id for r in first.items] == ["user-00", "user-01"]
    assert ([r.user_ext_id for r in rest.items], first.more, rest.more) == (["user-02"], True, False)


def test_erasing_a_user_keeps_only_ids(service: Service) -> None:
    service.register(name="Una")
    service.create()

    service.erase(reason="asked to")

    with pytest.raises(UserNotFound):
        stored_user(service.store, SUBJECT)
    history = history_of(service.store, SUBJECT)
    assert isinstance(history[-1], TicketDeleted)
    assert "Una" not in repr(history)
    assert fold(None, history) == state_of(service.store, SUBJECT)


def test_an_erased_user_can_be_registered_again_without_the_former_ticket(service: Service) -> None:
    service.register()
    service.create()
    service.erase()

    assert service.register(email="new@example.com").version == 1
    with pytest.raises(TicketNotFound):
        live_ticket(service.store, SUBJECT)
    assert service.create().version == 3


def test_an_erased_user_gets_no_mail(service: Service, store: AnyStore) -> None:
    service.register()
    service.create()
    service.erase()

    [delivery] = store.pending(SUBJECT)
    assert delivery.recipient is None
    assert delivery.obsolete(NOW) is Obsolete.ERASED
