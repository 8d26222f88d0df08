"""Each change of a user leaves exactly one event, which commits to the row without its values (both stores)."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from application.transaction.command import Precondition, PreconditionFailed
from application.users.record_users import ACTOR, RecordReport, RecordUser, record_users
from application.users.register_user import RegisterUser
from domain.shared.commitment import commitment
from domain.shared.event import Event
from domain.shared.subject import Subject
from domain.tickets.events import TicketDeleted, stream_id
from domain.users.user import UserChanged, UserErased, UserRegistered, user_stream_id
from tests.support.evidence import open_store
from tests.support.fakes import SUBJECT, TRACEPARENT
from tests.support.service import Service, command, service_over
from tests.support.stores import as_release_1_0_wrote, stored_user

ADDRESS = ("Bahnhofstrasse 1", "8001 Zürich")


@pytest.fixture
def service(database_url: str) -> Iterator[Service]:
    store = open_store(database_url)
    with service_over(store) as service:
        yield service
    store.close()


def events_of(service: Service, subject: Subject = SUBJECT) -> Sequence[Event]:
    return service.store.events_of(user_stream_id(*subject))


def without_events(service: Service, subject: Subject) -> None:
    """Register a user as release 1.0 did."""
    service.register(subject=subject)
    as_release_1_0_wrote(service.store, subject)
    for statement in (
        "DELETE FROM ledger WHERE client_ext_id = ? AND user_ext_id = ?",
        "UPDATE ledger_sizes SET size = 0 WHERE client_ext_id = ? AND ? <> ''",
    ):
        service.store._run(statement, [tuple(subject)])
    service.store._run("DELETE FROM ticket_events WHERE originator_id = ?", [(user_stream_id(*subject),)])


def without_row(service: Service) -> None:
    service.store._run("DELETE FROM recipients WHERE client_ext_id = ? AND user_ext_id = ?", [tuple(SUBJECT)])


def recorded(service: Service, **options: Any) -> RecordReport | None:
    numbers = iter(range(10_000))
    return record_users(
        store=service.store,
        users=service.store,
        submit=service.commands.submit,
        new_command_id=lambda: f"record-{next(numbers)}",
        correlation_id=TRACEPARENT,
        **options,
    )


def test_a_registration_commits_to_the_row(service: Service) -> None:
    service.register(name="Ann", actor="admin", reason="joined")

    [event] = events_of(service)
    assert isinstance(event, UserRegistered)
    assert (event.actor, event.reason, event.changed) == ("admin", "joined", ("email", "name"))
    assert event.recipient == stored_user(service.store, SUBJECT).commitment


def test_the_commitment_is_the_documented_digest(service: Service) -> None:
    service.register(name="Änn", postal_address=ADDRESS, email=None)

    row = stored_user(service.store, SUBJECT)
    assert row.salt is not None
    fields = {
        "address_version": 1,
        "client_ext_id": "client-123",
        "created": "2026-11-23T09:42:00Z",
        "last_modified": "2026-11-23T09:42:00Z",
        "name": "Änn",
        "postal_address": ADDRESS,
        "user_ext_id": "user-123",
        "version": 1,
    }
    assert row.commitment == commitment(row.salt, fields)


def test_a_change_names_the_fields_and_draws_a_new_salt(service: Service) -> None:
    service.register(name="Ann")
    first = stored_user(service.store, SUBJECT)
    service.register(name="Ann", email="new@example.com", language="de")

    _, event = events_of(service)
    row = stored_user(service.store, SUBJECT)
    assert isinstance(event, UserChanged)
    assert (event.changed, event.recipient) == (("email", "language"), row.commitment)
    assert row.salt != first.salt


def test_an_unchanged_user_leaves_no_event(service: Service) -> None:
    service.register()
    service.register()

    assert len(events_of(service)) == 1


def test_a_refused_change_leaves_no_event(service: Service) -> None:
    service.register()
    with pytest.raises(PreconditionFailed):
        service.register(email="new@example.com", precondition=Precondition(if_match=frozenset({7})))

    assert len(events_of(service)) == 1


def test_an_erasure_leaves_one_event_without_a_commitment(service: Service) -> None:
    service.register(name="Ann")
    service.create()
    service.erase(reason="left")

    _, event = events_of(service)
    assert isinstance(event, UserErased)
    assert (event.reason, event.changed) == ("left", ("email", "name"))
    assert isinstance(service.store.events_of(stream_id(*SUBJECT))[-1], TicketDeleted)


def test_the_stream_continues_after_an_erasure_and_the_version_of_the_user_begins_again(
    service: Service,
) -> None:
    service.register()
    service.register(email="new@example.com")
    service.erase()
    answer = service.register()

    assert [event.originator_version for event in events_of(service)] == [1, 2, 3, 4]
    assert isinstance(events_of(service)[-1], UserRegistered)
    assert answer.version == 1


def test_changes_of_one_batch_are_numbered_one_after_the_other(service: Service) -> None:
    commands = [command(RegisterUser, email=f"u{number}@example.com") for number in range(20)]
    for future in [service.commands.submit(one) for one in commands]:
        future.result().unwrap()

    assert [event.originator_version for event in events_of(service)] == list(range(1, 21))


def test_no_event_contains_a_value(service: Service) -> None:
    service.register(name="Ann Secret", postal_address=ADDRESS, email="ann@secret.example")
    service.register(name="Eve Hidden", postal_address=ADDRESS, email="eve@hidden.example")
    service.erase()

    stored = json.dumps([vars(event) for event in events_of(service)], default=str)
    for value in ("Ann", "Secret", "secret", "Eve", "Hidden", "hidden", "Bahnhof", "Zürich"):
        assert value not in stored


def test_an_address_version_changes_with_an_address_only(service: Service) -> None:
    versions = []
    for changes in (
        {},
        {"name": "Ann"},
        {"language": "de"},
        {"email": "new@example.com"},
        {"postal_address": ADDRESS},
    ):
        service.register(**changes)
        versions.append(stored_user(service.store, SUBJECT).addressed_at)

    assert versions == [1, 1, 1, 4, 5]


def test_a_user_who_is_registered_again_continues_the_address_versions(service: Service) -> None:
    versions = []
    for end in (service.erase, lambda: without_row(service)):
        service.register()
        service.register(email="new@example.com")
        versions.append(stored_user(service.store, SUBJECT).addressed_at)
        end()
    service.register()

    row = stored_user(service.store, SUBJECT)
    assert (versions, row.version, row.addressed_at) == ([2, 5], 1, 6)


def test_users_of_release_1_0_are_recorded_once_each(service: Service) -> None:
    subjects = [SUBJECT._replace(user_ext_id=f"user-{number}") for number in range(3)]
    for subject in subjects:
        without_events(service, subject)

    assert (recorded(service), recorded(service)) == ((3, 0), (0, 0))
    for subject in subjects:
        [event] = events_of(service, subject)
        row = stored_user(service.store, subject)
        assert isinstance(event, UserRegistered)
        assert (event.actor, event.reason, event.changed) == (ACTOR, None, ("email",))
        assert (event.recipient, row.version) == (row.commitment, 1)


def test_users_are_recorded_page_by_page_and_after_an_interruption(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.users.record_users.PAGE", 2)
    subjects = [SUBJECT._replace(user_ext_id=f"user-{number}") for number in range(5)]
    for subject in subjects:
        without_events(service, subject)
    service.commands.execute(command(RecordUser, subject=subjects[3]))

    assert recorded(service) == (4, 0)
    assert [len(events_of(service, subject)) for subject in subjects] == [1] * 5


def test_two_processes_do_not_record_at_the_same_time(service: Service) -> None:
    with service.store.lease("record-users"):
        assert recorded(service) is None


@pytest.mark.parametrize("erased", [False, True])
def test_the_job_does_not_record_a_row_without_a_commitment_of_a_user_with_events(
    service: Service, erased: bool
) -> None:
    service.register()
    row = service.store._fetch("SELECT * FROM recipients", ())
    if erased:
        service.erase()
        service.store._run(f"INSERT INTO recipients VALUES ({', '.join('?' * len(row[0]))})", row)
    as_release_1_0_wrote(service.store, SUBJECT, email="mallory@example.com")
    before = len(events_of(service))

    assert recorded(service) == (0, 1)
    assert recorded(service) == (0, 1)

    assert len(events_of(service)) == before
    assert stored_user(service.store, SUBJECT).salt is None


def test_the_operator_records_a_change_by_release_1_0_beside_this_release(service: Service) -> None:
    service.register()
    as_release_1_0_wrote(service.store, SUBJECT, email="old@example.com", version=2)

    assert recorded(service, operator="os:alice") == (1, 0)
    _, event = events_of(service)
    row = stored_user(service.store, SUBJECT)
    assert isinstance(event, UserChanged)
    assert (event.changed, event.recipient, event.reason) == ((), row.commitment, None)
    assert event.actor == "os:alice"
    assert (row.version, row.addressed_at) == (2, 2)


def test_a_user_of_release_1_0_can_be_changed_and_erased(service: Service) -> None:
    without_events(service, SUBJECT)
    service.register(email="new@example.com")
    other = SUBJECT._replace(client_ext_id="other")
    without_events(service, other)
    service.erase(subject=other)

    assert [type(event) for event in events_of(service)] == [UserChanged]
    assert [type(event) for event in events_of(service, other)] == [UserErased]
