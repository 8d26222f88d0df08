"""Contract of every Store, real or fake."""

import threading
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from application.delivery.outbox import OUTBOX, OutboxEntry
from application.policies.records import POLICIES, policies_of
from application.shared.errors import Conflict
from application.tickets.create_ticket import CreateTicket
from application.tickets.records import TICKETS, ticket_of
from application.tickets.regenerate_ticket import RegenerateTicket
from application.transaction.command import ANSWERS, CommandKey
from application.transaction.records import Changes, Load
from application.users.records import USERS
from domain.policies.policy import TicketPolicy
from domain.shared.subject import Subject
from domain.tickets.evolution import fold
from tests.support.fakes import NOW, SUBJECT
from tests.support.service import AnyStore, Service, command, service_over
from tests.support.stores import history_of, loaded, state_of, states_of, stored_user

OTHER = Subject("client-123", "user-4é5/\u4e16\U0001f511")
STRANGER = Subject("client-123", "stranger")


def test_a_new_store_is_empty(store: AnyStore) -> None:
    assert store.is_empty()
    assert (states_of(store, [SUBJECT]), history_of(store, SUBJECT)) == ({}, [])


def test_other_processes_find_committed_changes(service: Service, open_store: Callable[[], AnyStore]) -> None:
    service.register(name="Una Üser", language="de")
    service.create(retryable=True, command_id="key")
    service.regenerate(reason="é\n\u4e16")

    other, key = open_store(), CommandKey("client-123", "key")
    loads = [
        *ticket_of(SUBJECT),
        *ticket_of(STRANGER),
        Load(ANSWERS, key),
        Load(ANSWERS, ("client-2", "key")),
    ]
    found = other.load(loads)

    assert not other.is_empty()
    assert list(found.all(TICKETS)) == list(found.all(USERS)) == [SUBJECT]
    assert list(found.all(ANSWERS)) == [key]
    again = service.store.load(loads)
    assert found.all(TICKETS) == again.all(TICKETS)
    assert found.all(USERS) == again.all(USERS)
    assert found.all(ANSWERS) == again.all(ANSWERS)
    assert found.all(USERS)[SUBJECT].name == "Una Üser"
    assert found.all(TICKETS)[SUBJECT].modification_comment == "é\n\u4e16"


def test_the_row_equals_the_replayed_history(service: Service) -> None:
    for subject in (SUBJECT, OTHER):
        service.register(subject=subject)
        service.create(subject=subject)
        service.regenerate(subject=subject)
        service.regenerate(subject=subject)

        history = history_of(service.store, subject)
        assert [event.originator_version for event in history] == [1, 2, 3]
        assert fold(None, history) == state_of(service.store, subject)


def test_a_version_is_stored_once_and_a_conflict_stores_nothing(service: Service, store: AnyStore) -> None:
    service.register()
    service.create()
    service.regenerate()
    [_, second] = history_of(service.store, SUBJECT)
    row = state_of(service.store, SUBJECT)
    entry = OutboxEntry(SUBJECT, row.stream, 99, b"sealed", NOW)
    late = Changes(events=[second], subjects=[SUBJECT])
    late.put(TICKETS, SUBJECT, row, msgspec.structs.replace(row, reset_count=99))
    late.put(OUTBOX, entry.key, None, entry)

    with pytest.raises(Conflict):
        service.store.commit(late)

    assert state_of(service.store, SUBJECT) == row
    assert len(history_of(service.store, SUBJECT)) == 2
    assert entry not in store.outbox_page(None, 10)


def test_an_answer_is_stored_once(service: Service, store: AnyStore) -> None:
    service.register(retryable=True, command_id="key")
    key = CommandKey("client-123", "key")
    again = Changes()
    again.put(ANSWERS, key, None, loaded(store, Load(ANSWERS, key)).get(ANSWERS, key))

    with pytest.raises(Conflict):
        store.commit(again)


def test_a_stale_version_of_a_recipient_is_a_conflict(service: Service) -> None:
    service.register()
    service.register(email="second@example.com")
    known = stored_user(service.store, SUBJECT)
    late = Changes()
    late.put(USERS, SUBJECT, replace(known, version=1), replace(known, email="late@example.com"))

    with pytest.raises(Conflict):
        service.store.commit(late)

    assert stored_user(service.store, SUBJECT) == known


def test_the_policies_of_a_client_are_loaded_for_each_of_its_users(
    service: Service, open_store: Callable[[], AnyStore]
) -> None:
    service.define("letters", is_default=True)
    service.define("mails", is_default=True, policy=TicketPolicy(reusable=True))

    policies = loaded(open_store(), policies_of("client-123")).all(POLICIES)

    assert {
        key.policy_ext_id: (row.is_default, row.policy.reusable, row.version) for key, row in policies.items()
    } == {
        "letters": (False, False, 2),
        "mails": (True, True, 1),
    }
    assert loaded(open_store(), policies_of("client-2")).all(POLICIES) == {}


def test_a_deleted_ticket_is_kept_as_deleted(service: Service) -> None:
    service.register()
    service.create()
    service.delete()

    assert state_of(service.store, SUBJECT).deleted
    assert service.create().version == 3


def test_concurrent_processes_lose_nothing(open_store: Callable[[], AnyStore]) -> None:
    with service_over(open_store()) as first, service_over(open_store()) as second:
        first.register()
        first.create()
        barrier = threading.Barrier(2)

        def reset_often(service: Service) -> None:
            barrier.wait(10)
            futures = [service.commands.submit(command(RegenerateTicket)) for _ in range(100)]
            versions.extend(future.result(60).version for future in futures)

        versions: list[int | None] = []
        threads = [threading.Thread(target=reset_often, args=[service]) for service in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(version or 0 for version in versions) == list(range(2, 202))
        assert fold(None, history_of(first.store, SUBJECT)) == state_of(first.store, SUBJECT)


def test_one_of_two_concurrent_creates_succeeds(open_store: Callable[[], AnyStore]) -> None:
    with service_over(open_store()) as first, service_over(open_store()) as second:
        first.register()
        futures = [service.commands.submit(command(CreateTicket)) for service in (first, second, first)]

        assert sorted(future.result(60).outcome for future in futures) == [
            "TicketExists",
            "TicketExists",
            "created",
        ]
