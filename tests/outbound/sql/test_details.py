"""The comment of a caller is a separate row; the event contains a commitment to it (both stores)."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from application.record.access_log import READ, NoteAccess
from application.record.history import history, past_ticket
from application.record.past_states import PastStates
from application.record.replay import check_streams, stream_ranges
from application.tickets.erase_user import EraseUser
from application.transaction.records import Changes
from domain.record.access_log import AccessNoted
from domain.shared.commitment import commitment
from domain.shared.subject import Subject
from domain.tickets.events import stream_id
from domain.tickets.states import State
from interface.outbound.sql.details_check import details_faults
from tests.support.commits import around_commits
from tests.support.evidence import open_store
from tests.support.fakes import SUBJECT
from tests.support.service import AnyStore, Service, command, service_over
from tests.support.stores import history_of, state_of

CLIENT = SUBJECT.client_ext_id
COMMENT = "lost 'letter', ünïcode \x00"


@pytest.fixture
def service(database_url: str) -> Iterator[Service]:
    with service_over(open_store(database_url)) as service:
        service.register()
        service.create()
        yield service


def erase_reasons(store: AnyStore) -> None:
    store._run("DELETE FROM details", [()])


def test_the_stored_event_contains_a_commitment_instead_of_the_comment(service: Service) -> None:
    store = service.store
    service.regenerate(reason=COMMENT)

    [entry] = [entry for entry in store.entries(CLIENT, 0, 10) if entry.topic == "TicketRegenerated"]

    details = store.details(CLIENT, [entry.position])[entry.position]
    assert details.reason == COMMENT
    expected = commitment(details.salt, {"reason": COMMENT})
    assert b'"reason":null' in entry.state
    assert f'"details":"{expected}"'.encode() in entry.state


def test_an_event_without_a_comment_is_stored_as_before(service: Service) -> None:
    drawn = service.randomness.drawn
    service.modify(state=State.DISABLED)

    entry = service.store.entries(CLIENT, 0, 10)[-1]

    assert b"details" not in entry.state
    assert service.store._fetch("SELECT 1 FROM details", ()) == []
    assert service.randomness.drawn == drawn


def test_every_reader_of_events_gets_the_comment(service: Service) -> None:
    store = service.store
    service.regenerate(reason=COMMENT)
    service.define("letters", reason="of a policy")

    by_position = [store.event(entry).reason for entry in store.entries(CLIENT, 1, 10)]
    by_stream = [store.event(entry).reason for entry in store.entries_of(SUBJECT, stream_id(*SUBJECT), 0, 10)]
    past, _ = past_ticket(SUBJECT, store=store, clock=service.clock, kept=PastStates(), version=2)

    assert by_position == [None, COMMENT, "of a policy"]
    assert by_stream == [None, COMMENT]
    assert [event.reason for event in history_of(store, SUBJECT)] == [None, COMMENT]
    assert [item["reason"] for item in history(SUBJECT, ledger=store)] == [None, COMMENT]
    assert past.modification_comment == COMMENT


def test_several_changes_of_a_command_have_a_commitment_each(service: Service) -> None:
    service.define("letters")
    service.modify(policy_ext_id="letters", state=State.DISABLED, reason=COMMENT)

    events = history_of(service.store, SUBJECT)[1:]

    assert len(events) == 2
    assert len({event.details for event in events}) == 2
    assert state_of(service.store, SUBJECT).modification_comment == COMMENT


def test_without_its_row_a_comment_is_erased(service: Service) -> None:
    store = service.store
    service.modify(state=State.DISABLED, reason="first")
    service.modify(state=State.ACTIVE, reason="second")
    erase_reasons(store)

    past, _ = past_ticket(SUBJECT, store=store, clock=service.clock, kept=PastStates(), version=3)

    assert [event.reason_erased for event in history_of(store, SUBJECT)] == [False, True, True]
    assert [store.event(entry).reason_erased for entry in store.entries(CLIENT, 1, 10)] == [False, True, True]
    assert past.modification_comment is None


def test_a_page_with_many_comments_has_them_all(service: Service) -> None:
    for number in range(5):
        service.regenerate(reason=f"reset {number}")

    reasons = [service.store.event(entry).reason for entry in service.store.entries(CLIENT, 2, 10)]

    assert reasons == [f"reset {number}" for number in range(5)]


def test_an_erased_comment_is_not_replaced_by_a_former_one_that_is_stored(service: Service) -> None:
    store = service.store
    service.modify(state=State.DISABLED, reason="kept")
    service.modify(state=State.ACTIVE, reason="erased")
    store._run("DELETE FROM details WHERE version = ?", [(3,)])

    past, _ = past_ticket(SUBJECT, store=store, clock=service.clock, kept=PastStates(), version=3)

    assert past.modification_comment is None


@pytest.mark.parametrize(
    ("forgery", "fault"),
    [
        ("UPDATE details SET reason = ?", "text or salt differ from the commitment in the event"),
        ("UPDATE details SET salt = ?", "text or salt differ from the commitment in the event"),
        (
            "UPDATE details SET user_ext_id = 'user-1', reason = ?",
            "column user_ext_id is 'user-1', not 'user-123'",
        ),
        (
            "UPDATE details SET version = 1, reason = ?",
            "text or salt differ from the commitment in the event",
        ),
        ("UPDATE details SET version = 9, reason = ?", "it belongs to no event"),
    ],
)
def test_a_forged_text_is_found(service: Service, forgery: str, fault: str) -> None:
    service.regenerate(reason=COMMENT)
    before = service.store.orphaned_rows()
    service.store._run(forgery, [(b"0123456789abcdef",)])

    [found] = service.store.orphaned_rows()

    assert before == []
    assert found.endswith(f": {fault}")
    assert found.startswith(f"client '{CLIENT}', reason of stream ")


def test_a_deleted_comment_is_found_unless_its_user_was_erased(service: Service) -> None:
    service.regenerate(reason=COMMENT)
    service.store._run("DELETE FROM details", [()])
    place = f"client '{CLIENT}', position 3, stream {stream_id(*SUBJECT)}, version 2"

    assert faults_of(service) == [
        f"{place}: the comment is missing from table details, but its user was not erased"
    ]
    service.execute(command(EraseUser))
    assert faults_of(service) == []


def test_a_comment_of_an_erased_user_is_found(service: Service) -> None:
    service.regenerate(reason=COMMENT)
    [row] = service.store._fetch("SELECT * FROM details", ())
    service.execute(command(EraseUser))
    before = service.store.orphaned_rows()
    service.store._run("INSERT INTO details VALUES (?, ?, ?, ?, ?, ?)", [tuple(row)])

    [fault] = service.store.orphaned_rows()

    assert before == []
    assert fault.endswith(": it was not deleted, but its user was erased after the event")


def test_a_user_who_is_erased_during_the_check_is_no_fault(service: Service) -> None:
    service.regenerate(reason=COMMENT)

    def fetch(statement: str, parameters: Sequence[Any]) -> list[Any]:
        if "max(position)" in statement:
            service.execute(command(EraseUser))
        return service.store._fetch(statement, parameters)

    assert list(details_faults(fetch)) == []
    assert service.store._fetch("SELECT 1 FROM details", ()) == []


def test_a_text_that_another_process_stores_during_an_erasure_is_deleted(
    service: Service, database_url: str
) -> None:
    search = command(NoteAccess, operation="searchHistory", outcome=READ, reason="actor=anna")
    searches = iter([search])

    def search_first(_: Changes) -> None:
        for once in searches:
            with service_over(open_store(database_url)) as other:
                other.execute(once)

    around_commits(service.store, before=search_first)
    service.execute(command(EraseUser))

    assert service.store._fetch("SELECT 1 FROM details", ()) == []
    assert (service.store.orphaned_rows(), faults_of(service)) == ([], [])


def test_a_read_that_is_recorded_after_the_erasure_of_its_user_has_no_values(service: Service) -> None:
    search = command(
        NoteAccess, operation="searchHistory", outcome=READ, filters=("actor",), reason="actor=anna"
    )
    service.execute(command(EraseUser))
    service.execute(search)

    event = service.store.event(service.store.entries(CLIENT, 0, 10)[-1])
    assert isinstance(event, AccessNoted)
    assert (event.filters, event.reason, event.reason_erased) == (("actor",), None, False)
    assert service.store._fetch("SELECT 1 FROM details", ()) == []


def test_an_erasure_keeps_the_texts_of_later_events_and_of_other_users(service: Service) -> None:
    other = Subject(CLIENT, "user-4")
    service.register(subject=other, reason="of another user")
    service.regenerate(reason=COMMENT)
    service.erase(reason="left")
    service.register(reason="joined again")

    texts = service.store._fetch("SELECT reason FROM details", ())

    assert {bytes(text) for (text,) in texts} == {b"of another user", b"left", b"joined again"}
    assert (service.store.orphaned_rows(), faults_of(service)) == ([], [])


def test_the_comment_of_a_policy_cannot_be_erased_with_a_user(service: Service) -> None:
    service.define("letters", reason=COMMENT)
    service.execute(command(EraseUser))
    service.store._run("DELETE FROM details", [()])

    [fault] = faults_of(service)

    assert "the comment is missing from table details" in fault


def test_a_deleted_text_of_a_search_is_found_beside_those_of_an_erased_user(service: Service) -> None:
    other = Subject(CLIENT, "user-4")
    for subject in (SUBJECT, other):
        search = command(
            NoteAccess, subject=subject, operation="searchHistory", outcome=READ, reason="actor=anna"
        )
        service.execute(search)
    service.execute(command(EraseUser))
    assert faults_of(service) == []
    service.store._run("DELETE FROM details WHERE user_ext_id = ?", [(other.user_ext_id,)])

    [fault] = faults_of(service)

    assert "version 2: the comment is missing from table details" in fault


def faults_of(service: Service) -> list[str]:
    """Return the faults of the streams."""
    [(begin, end)] = stream_ranges(1)
    return check_streams(CLIENT, begin, end, ledger=service.store).faults
