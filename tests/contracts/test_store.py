"""What every Store and Outbox does, real or fake."""

import threading
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from application.model.outbox import OutboxEntry
from application.shared.errors import Conflict
from application.tickets.create_ticket import CreateTicket
from application.tickets.regenerate_ticket import RegenerateTicket
from application.transaction.command import CommandKey
from application.transaction.ports import Changes
from domain.policies.policy import TicketPolicy
from domain.shared.subject import Subject
from domain.tickets.state import fold
from tests.contracts.conftest import StoreWithOutbox
from tests.support.fakes import NOW, SUBJECT
from tests.support.service import Service, command, service_over

OTHER = Subject("client-123", "user-4é5/\u4e16\U0001f511")
STRANGER = Subject("client-123", "stranger")


def test_a_new_store_is_empty(store: StoreWithOutbox) -> None:
    assert store.is_empty()
    assert (store.look_up([SUBJECT]).tickets, store.history(SUBJECT)) == ({}, [])


def test_what_was_committed_is_found_by_every_other_process(
    service: Service, open_store: Callable[[], StoreWithOutbox]
) -> None:
    service.register(name="Una Üser", language="de")
    service.create(retryable=True, command_id="key")
    service.regenerate(reason="é\n\u4e16")

    other, key = open_store(), CommandKey("client-123", "key")
    known = other.look_up([SUBJECT, STRANGER], [key, CommandKey("client-2", "key")])

    assert not other.is_empty()
    assert (list(known.tickets), list(known.recipients), list(known.answers)) == ([SUBJECT], [SUBJECT], [key])
    assert known == service.store.look_up([SUBJECT], [key])
    assert known.recipients[SUBJECT].name == "Una Üser"
    assert known.tickets[SUBJECT].modification_comment == "é\n\u4e16"


def test_the_row_is_the_fold_of_the_history(service: Service) -> None:
    for subject in (SUBJECT, OTHER):
        service.register(subject=subject)
        service.create(subject=subject)
        service.regenerate(subject=subject)
        service.regenerate(subject=subject)

        history = service.store.history(subject)
        assert [event.originator_version for event in history] == [1, 2, 3]
        assert fold(None, history) == service.store.look_up([subject]).tickets[subject]


def test_a_version_is_stored_once_and_the_loser_leaves_nothing(
    service: Service, store: StoreWithOutbox
) -> None:
    service.register()
    service.create()
    service.regenerate()
    [_, second] = service.store.history(SUBJECT)
    row = service.store.look_up([SUBJECT]).tickets[SUBJECT]
    entry = OutboxEntry(SUBJECT, row.stream, 99, b"sealed", NOW)
    late = Changes(
        events=[second],
        subjects=[SUBJECT],
        tickets={SUBJECT: msgspec.structs.replace(row, reset_count=99)},
        outbox=[entry],
    )

    with pytest.raises(Conflict):
        service.store.commit(late)

    assert service.store.look_up([SUBJECT]).tickets[SUBJECT] == row
    assert len(service.store.history(SUBJECT)) == 2
    assert entry not in store.outbox_page(None, 10)


def test_an_answer_is_kept_once(service: Service, store: StoreWithOutbox) -> None:
    service.register(retryable=True, command_id="key")
    key = CommandKey("client-123", "key")
    again = Changes(answers=store.look_up([], [key]).answers)

    with pytest.raises(Conflict):
        store.commit(again)


def test_a_recipient_is_not_changed_on_the_ground_of_an_old_version(service: Service) -> None:
    service.register()
    service.register(email="second@example.com")
    known = service.store.look_up([SUBJECT]).recipients[SUBJECT]

    with pytest.raises(Conflict):
        service.store.commit(Changes(recipients=[replace(known, email="late@example.com")]))

    assert service.store.look_up([SUBJECT]).recipients[SUBJECT] == known


def test_the_policies_of_a_client_come_with_each_of_its_users(
    service: Service, open_store: Callable[[], StoreWithOutbox]
) -> None:
    service.define("letters", is_default=True)
    service.define("mails", is_default=True, policy=TicketPolicy(reusable=True))

    policies = open_store().look_up([STRANGER]).policies

    assert {
        key.policy_ext_id: (row.is_default, row.policy.reusable, row.version) for key, row in policies.items()
    } == {
        "letters": (False, False, 2),
        "mails": (True, True, 1),
    }
    assert open_store().look_up([Subject("client-2")]).policies == {}


def test_a_deleted_ticket_stays_known_as_deleted(service: Service) -> None:
    service.register()
    service.create()
    service.delete()

    assert service.store.look_up([SUBJECT]).tickets[SUBJECT].deleted
    assert service.create().version == 3


def test_concurrent_processes_lose_nothing(open_store: Callable[[], StoreWithOutbox]) -> None:
    with service_over(open_store()) as first, service_over(open_store()) as second:
        if first.store is second.store:
            pytest.skip("a fake has one process")
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
        assert fold(None, first.store.history(SUBJECT)) == first.store.look_up([SUBJECT]).tickets[SUBJECT]


def test_of_two_creates_at_once_one_wins(open_store: Callable[[], StoreWithOutbox]) -> None:
    with service_over(open_store()) as first, service_over(open_store()) as second:
        first.register()
        futures = [service.commands.submit(command(CreateTicket)) for service in (first, second, first)]

        assert sorted(future.result(60).outcome for future in futures) == [
            "TicketExists",
            "TicketExists",
            "created",
        ]
