import itertools
import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from application.record.history import fingerprint
from application.tickets.expire_tickets import NoteExpiry
from application.tickets.import_tickets import Import, ImportReport, import_tickets
from application.tickets.minting import SlowWork
from application.tickets.verify_ticket import VerifyTicket
from application.transaction.command import Command
from domain.policies.policy import HashAlgorithm, TicketPolicy, WeakHash
from domain.shared.subject import Subject
from domain.tickets.events import stream_id
from domain.tickets.states import State
from domain.tickets.stored_hash import kind_of
from domain.tickets.ticket import ClearTicket
from tests.domain.tickets.test_stored_hash import hashed
from tests.support.fakes import NOW, SUBJECT, TRACEPARENT, FakeSlowHash
from tests.support.service import Service, command
from tests.support.stores import state_of

CLIENT = SUBJECT.client_ext_id
ROW = {
    "extId": "t-1",
    "userExtId": SUBJECT.user_ext_id,
    "stateName": "active",
    "ticket": hashed("SSHA256", "the-ticket", b"salt"),
    "validity": {"from": "2026-11-01T00:00:00Z", "to": "2027-11-01T00:00:00Z"},
}
_ids = itertools.count()


@pytest.fixture(autouse=True)
def _user(service: Service) -> None:
    service.register()


def finish(works: Sequence[SlowWork]) -> Iterable[Command]:
    return [work.finish(FakeSlowHash()) for work in works]


def imported(
    service: Service,
    *rows: Any,
    dry_run: bool = False,
    salt_first: bool = False,
    history_digest: str | None = None,
) -> ImportReport:
    """Import rows: as dicts, or as lines."""
    terms = Import(
        client_ext_id=CLIENT,
        source="old",
        salt_first=salt_first,
        dry_run=dry_run,
        history_digest=history_digest,
        actor="os:operator",
        correlation_id=TRACEPARENT,
        command_id=f"import-{next(_ids)}",
    )
    report = ImportReport()
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    import_tickets(
        [b"\n".join(lines)], terms, submit=service.commands.submit_all, finish=finish, report=report
    )
    return report


def row(**changes: Any) -> dict[str, Any]:
    return {**ROW, **changes}


def events(service: Service, subject: Subject = SUBJECT) -> list[str]:
    return [event.TOPIC for event in service.store.events_of(stream_id(*subject))]


def test_an_imported_ticket_verifies(service: Service) -> None:
    report = imported(service, row())

    assert (report.created, report.refused) == (1, 0)
    assert (dict(report.states), dict(report.hashes)) == ({"active": 1}, {"SSHA256": 1})
    assert service.verify("wrong")["reason"] == "wrong-ticket"
    assert service.verify("the-ticket")["verified"]


def test_a_validity_at_the_begin_of_the_calendar_is_imported_as_expired(service: Service) -> None:
    validity = {"from": "0001-01-01T00:00:00Z", "to": "0001-01-05T00:00:00Z"}

    assert imported(service, row(validity=validity)).created == 1
    assert service.verify("the-ticket")["reason"] == "expired"


def test_nothing_is_sent(service: Service) -> None:
    imported(service, row())

    assert service.sealer.sealed == []


def test_the_credential_is_as_it_was_in_the_other_system(service: Service) -> None:
    service.define("letters")

    imported(
        service,
        row(
            policyExtId="letters",
            stateName="fail-locked",
            stateChangeReason="too-many-login-failures",
            created="2020-01-01T00:00:00Z",
            version=17,
            lastSuccessfulLoginDate="2026-11-02T00:00:00Z",
            successfulLoginCount=1,
            lastFailedLoginDate="2026-11-03T00:00:00+01:00",
            failedLoginCount=3,
            failureCount=9,
            successCount=4,
            resetCount=2,
            modificationComment="a comment",
        ),
    )

    state = state_of(service.store, SUBJECT)
    assert state
    assert (state.policy_ext_id, state.state_name) == ("letters", State.FAIL_LOCKED)
    assert state.state_change_reason == "too-many-login-failures"
    assert (state.version, state.created.year, state.last_modified) == (1, 2020, NOW)
    assert state.last_successful_login_date
    assert state.last_failed_login_date
    assert state.last_failed_login_date.isoformat() == "2026-11-02T23:00:00+00:00"
    assert (state.successful_login_count, state.failed_login_count) == (1, 3)
    assert (state.failure_count, state.success_count, state.reset_count) == (9, 4, 2)
    assert state.modification_comment == "a comment"
    assert service.verify("the-ticket")["reason"] == "locked"


def test_the_comment_is_in_no_bytes_of_the_event(service: Service) -> None:
    imported(service, row(modificationComment="about Una"))

    [entry] = [entry for entry in service.store.entries(CLIENT, 0, 10) if entry.topic == "TicketImported"]
    assert b"Una" not in entry.state


def test_the_same_row_again_changes_nothing(service: Service) -> None:
    imported(service, row())

    report = imported(service, row(), row(userExtId="unknown"))

    assert (report.unchanged, report.created) == (1, 0)
    assert events(service) == ["TicketImported"]


def test_the_same_row_again_changes_nothing_after_a_change_here(service: Service) -> None:
    imported(service, row())
    service.regenerate()
    service.delete()

    assert imported(service, row()).unchanged == 1
    assert events(service) == ["TicketImported", "TicketRegenerated", "TicketDeleted"]


def test_a_changed_row_is_imported_again_until_the_credential_is_changed_here(service: Service) -> None:
    imported(service, row())
    report = imported(service, row(failureCount=1))
    service.verify("wrong")

    refused = imported(service, row(failureCount=2))

    assert report.changed == 1
    assert events(service) == ["TicketImported", "TicketImported", "WrongTicketPresented"]
    assert refused.faults == [
        "line 1: ImportConflict: The ticket was imported and then changed here: its version is 3."
    ]


def test_an_expiry_is_no_change_here(service: Service) -> None:
    imported(service, row(validity={"to": "2026-11-24T00:00:00Z"}))
    service.clock.advance(timedelta(days=9))
    service.execute(note_expiry())

    report = imported(service, row(validity={"to": "2027-11-24T00:00:00Z"}))

    assert events(service) == ["TicketImported", "TicketExpired", "TicketImported"]
    assert report.changed == 1


def note_expiry() -> NoteExpiry:
    return NoteExpiry(
        subject=SUBJECT,
        actor="job",
        correlation_id=TRACEPARENT,
        command_id=f"expiry-{next(_ids)}",
        request_digest="",
    )


@pytest.mark.parametrize("end", ["2026-11-02T00:00:00Z", "2026-11-24T00:00:00Z"])
def test_an_expiry_that_is_due_at_the_import_is_not_recorded(service: Service, end: str) -> None:
    imported(service, row(validity={"from": "2026-11-01T00:00:00Z", "to": end}))

    service.execute(note_expiry())

    assert events(service) == ["TicketImported"]


def test_a_later_expiry_is_recorded(service: Service) -> None:
    imported(service, row())
    service.clock.advance(timedelta(days=340))

    service.execute(note_expiry())

    assert events(service) == ["TicketImported", "TicketExpirySoon"]


def test_an_expired_ticket_is_expired(service: Service) -> None:
    imported(service, row(validity={"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z"}))

    assert service.verify("the-ticket")["reason"] == "expired"


@pytest.mark.parametrize("state", [State.INITIAL, State.RESET_CODE, State.ADMIN_CHANGED])
def test_the_states_that_only_an_import_leads_to_have_ways_out(service: Service, state: State) -> None:
    imported(service, row(stateName=state.value))

    assert service.verify("the-ticket")["reason"] == "locked"
    assert events(service) == ["TicketImported"]
    service.modify(state=State.DISABLED)
    service.modify(state=State.ACTIVE)
    assert service.verify("the-ticket")["verified"]
    service.regenerate()
    assert service.verify(service.newest())["verified"]


@pytest.mark.parametrize("state", [State.INITIAL, State.RESET_CODE, State.ADMIN_CHANGED])
def test_a_reset_makes_such_a_ticket_active(service: Service, state: State) -> None:
    imported(service, row(stateName=state.value))

    service.regenerate()

    assert service.verify("the-ticket")["reason"] == "wrong-ticket"
    assert service.verify(service.newest())["verified"]


def test_a_temporary_lock_without_an_end_lasts_as_long_as_that_of_the_policy(service: Service) -> None:
    report = imported(service, row(stateName="tmp-locked", validity={}))

    assert dict(report.assumed) == {"validity.to": 1, "lockedUntil": 1}
    assert service.verify("the-ticket") == {
        "verified": False,
        "reason": "locked",
        "lockedUntil": "2026-11-23T09:43:00Z",
    }
    service.clock.advance(timedelta(minutes=1))
    assert service.verify("the-ticket")["verified"]


def test_a_sha_1_hash_is_wrapped(service: Service) -> None:
    report = imported(service, row(ticket=hashed("SSHA", "the-ticket", b"s")))

    state = state_of(service.store, SUBJECT)
    assert state
    assert kind_of(state.ticket_hash) == "ARGON2ID+SSHA"
    assert fingerprint(state.ticket_hash).startswith("{ARGON2ID+SSHA} ")
    assert (dict(report.hashes), dict(report.treatments)) == ({"ARGON2ID+SSHA": 1}, {"wrapped": 1})
    assert service.verify("other")["reason"] == "wrong-ticket"
    assert service.verify("the-ticket")["reason"] == "wrong-ticket"  # its policy has no hyphen


def test_a_refusal_of_a_wrapped_ticket_costs_a_slow_hash(service: Service) -> None:
    imported(service, row(ticket=hashed("SSHA", "abcd", b"s"), stateName="fail-locked"))

    with pytest.raises(SlowWork):
        service.commands.execute(command(VerifyTicket, ticket=ClearTicket("abcd")))


def test_a_wrapped_ticket_is_verified_as_people_type_it(service: Service) -> None:
    imported(service, row(ticket=hashed("SSHA", "abcdefgh", b"s")))

    assert service.verify(" abcd-efgh ")["verified"]


def test_a_prepended_salt_is_an_option_of_the_import(service: Service) -> None:
    prepended = row(ticket=hashed("SSHA256", "the-ticket", b"s", salt_first=True))

    report = imported(service, prepended, salt_first=True)

    assert dict(report.hashes) == {"PSSHA256": 1}
    assert service.verify("the-ticket")["verified"]


def test_a_policy_admits_a_weaker_hash(service: Service) -> None:
    service.define("default", policy=TicketPolicy(admitted_hashes=(WeakHash.SSHA,)), is_default=True)

    report = imported(service, row(ticket=hashed("SSHA", "the-ticket", b"s")))

    assert (dict(report.hashes), dict(report.treatments)) == ({"SSHA": 1}, {"admitted": 1})
    assert service.verify("the-ticket")["verified"]


def test_a_fast_hash_is_wrapped_if_the_policy_requires_a_slow_one(service: Service) -> None:
    policy = TicketPolicy(ticket_length=8, hash_algorithm=HashAlgorithm.ARGON2ID)
    service.define("default", policy=policy, is_default=True)

    report = imported(service, row(ticket=hashed("SSHA256", "abcd", b"s")))

    assert dict(report.hashes) == {"ARGON2ID+SSHA256": 1}
    assert service.verify("abcd")["verified"]


def test_rows_with_and_without_slow_hashes_keep_their_lines(service: Service) -> None:
    users = [f"u-{number}" for number in range(5)]
    for user in users[:-1]:
        service.register(subject=Subject(CLIENT, user))
    kinds = itertools.cycle(["SSHA", "SSHA256"])
    rows = [row(userExtId=user, extId=user, ticket=hashed(next(kinds), "abcd", b"s")) for user in users]

    report = imported(service, *rows)

    assert dict(report.hashes) == {"ARGON2ID+SSHA": 2, "SSHA256": 2}
    assert report.faults == ["line 5: UserUnknown: Client 'client-123' has no user 'u-4'."]


def test_a_dry_run_reports_the_same_and_changes_nothing(service: Service) -> None:
    service.register(subject=Subject(CLIENT, "b"))
    rows = [
        row(ticket=hashed("SSHA", "the-ticket", b"s")),
        row(userExtId="b", extId="b"),
        row(userExtId="c", extId="c"),
    ]

    dry = imported(service, *rows, dry_run=True)

    assert events(service) == []
    assert vars(imported(service, *rows)) == vars(dry)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"{", "RowInvalid: not JSON"),
        (row(more=1), "RowInvalid: more: Extra inputs"),
        (row(ticket="{MD5}AAAA"), "HashUnusable: ticket must begin with one of"),
        (row(stateName="new"), "RowInvalid: stateName: Input should be"),
        (row(failureCount=-1), "RowInvalid: failureCount: Input should be"),
        (row(type="PUK"), "RowInvalid: type: Input should be 'Ticket Authorization'"),
        (row(created="2026-01-01"), "RowInvalid: created: must be a date and time"),
        (row(policyExtId="unknown"), "PolicyUnknown: "),
        (row(userExtId="unknown"), "UserUnknown: "),
        (row(extId=" t"), "IdentifierInvalid: extId must not begin"),
        (
            row(validity={"from": "2027-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}),
            "ValidityImpossible: ",
        ),
    ],
)
def test_a_row_with_a_fault_is_refused_with_its_line_and_code(
    service: Service, line: Any, fault: str
) -> None:
    service.register(subject=Subject(CLIENT, "b"))

    report = imported(service, b"", line, row(userExtId="b", extId="b"))

    [message] = report.faults
    assert message.startswith(f"line 2: {fault}")
    assert report.created == 1


def test_a_second_row_of_a_user_is_refused(service: Service) -> None:
    report = imported(service, row(), row(failureCount=1))

    assert report.faults == ["line 2: DuplicateUser: An earlier row has the same userExtId."]


def test_a_ticket_of_this_service_is_not_replaced(service: Service) -> None:
    service.create()

    report = imported(service, row())

    assert report.faults == ["line 1: ImportConflict: The user has a ticket that this service created."]


def test_a_deleted_ticket_is_not_revived(service: Service) -> None:
    service.create()
    service.delete()

    report = imported(service, row())

    assert dict(report.codes) == {"ImportConflict": 1}


def test_another_ext_id_is_another_credential(service: Service) -> None:
    imported(service, row())

    assert imported(service, row(extId="t-2")).faults == [
        "line 1: ImportConflict: The ticket was imported with the extId 't-1'."
    ]


def test_the_event_contains_the_digest_of_the_former_history_if_there_is_one(service: Service) -> None:
    service.register(subject=Subject(CLIENT, "b"))
    imported(service, row(), history_digest="f" * 64)
    imported(service, row(userExtId="b", extId="b"))

    with_history, without = [
        entry.state for entry in service.store.entries(CLIENT, 0, 10) if entry.topic == "TicketImported"
    ]

    assert b'"history_digest":"' + b"f" * 64 in with_history
    assert b"history_digest" not in without


def test_an_erased_user_stays_erased(service: Service) -> None:
    imported(service, row(modificationComment="about Una"))
    service.erase()

    assert dict(imported(service, row()).codes) == {"UserUnknown": 1}
