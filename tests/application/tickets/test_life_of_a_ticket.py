"""Modify, delete, verify, lock, policies: the rules of docs/http-contract.md."""

import json
from datetime import timedelta
from typing import Any

import pytest

from application.policies.define_policy import read_policies
from application.policies.records import UnknownPolicy, policies_of
from application.tickets.create_ticket import CreateTicket
from application.tickets.modify_ticket import StaleVersion
from application.tickets.records import TicketNotFound
from application.tickets.regenerate_ticket import RegenerateTicket
from application.transaction.command import Precondition, PreconditionFailed
from application.users.records import UserNotFound
from domain.policies.policy import HashAlgorithm, InvalidPolicy, TicketPolicy
from domain.shared.subject import Subject
from domain.tickets.guessing_limit import CredentialLocked
from domain.tickets.states import State
from domain.tickets.ticket_credential import CredentialDisabled, CredentialFinal
from domain.tickets.validity import InvalidValidity
from tests.support.fakes import NOW, SUBJECT
from tests.support.service import Service, command
from tests.support.stores import history_of, live_ticket

WRONG = "not-the-ticket"
OTHER = Subject("client-123", "user-456")
ARGON2 = TicketPolicy(hash_algorithm=HashAlgorithm.ARGON2ID)


@pytest.fixture
def ticket(service: Service) -> Service:
    """Given a user with a ticket."""
    service.register()
    service.create()
    return service


def row(service: Service) -> Any:
    return live_ticket(service.store, SUBJECT).at(service.clock())


def events(service: Service) -> list[str]:
    return [type(event).__name__ for event in history_of(service.store, SUBJECT)]


# modify


def test_an_unchanged_ticket_emits_no_event(ticket: Service) -> None:
    answer = ticket.modify(state=State.ACTIVE, policy_ext_id="default", valid_from=NOW)

    assert (answer.version, events(ticket)) == (1, ["TicketCreated"])


def test_each_change_emits_a_separate_event(ticket: Service) -> None:
    ticket.define("letters")

    answer = ticket.modify(
        state=State.DISABLED, policy_ext_id="letters", valid_to=NOW + timedelta(days=1), reason="as asked"
    )

    assert answer.version == 4
    assert events(ticket)[1:] == ["TicketPolicyAssigned", "TicketValidityChanged", "TicketStateChanged"]
    assert (row(ticket).state_change_reason, row(ticket).modification_comment) == (
        "changed-by-admin",
        "as asked",
    )


def test_omitted_fields_are_unchanged(ticket: Service) -> None:
    ticket.modify(reason="first")
    before = row(ticket)

    ticket.modify(state=State.DISABLED)

    after = row(ticket)
    assert (after.modification_comment, after.valid_to, after.policy_ext_id) == (
        "first",
        before.valid_to,
        before.policy_ext_id,
    )


def test_a_comment_alone_is_a_change(ticket: Service) -> None:
    ticket.modify(reason="first")
    ticket.modify(reason="first")

    assert events(ticket)[1:] == ["TicketCommented"]


def test_a_stale_version_changes_nothing(ticket: Service) -> None:
    with pytest.raises(StaleVersion):
        ticket.modify(version=7, state=State.DISABLED)
    with pytest.raises(PreconditionFailed):
        ticket.modify(precondition=Precondition(if_match=frozenset({7})), state=State.DISABLED)

    assert ticket.modify(version=1, state=State.DISABLED).version == 2


def test_an_archived_ticket_cannot_be_changed(ticket: Service) -> None:
    ticket.modify(state=State.ARCHIVED)

    for change in ({"state": State.ACTIVE}, {"reason": "x"}, {"valid_to": NOW + timedelta(days=1)}):
        with pytest.raises(CredentialFinal):
            ticket.modify(**change)


def test_an_invalid_change_changes_nothing(ticket: Service) -> None:
    with pytest.raises(UnknownPolicy):
        ticket.modify(state=State.DISABLED, policy_ext_id="no-such-policy")
    with pytest.raises(InvalidValidity):
        ticket.modify(state=State.DISABLED, valid_to=NOW)

    assert events(ticket) == ["TicketCreated"]


# delete


def test_a_new_ticket_continues_the_history_of_a_deleted_one(ticket: Service) -> None:
    ticket.regenerate()
    ticket.delete(reason="left")

    for operation in (ticket.regenerate, ticket.modify, ticket.delete):
        with pytest.raises(TicketNotFound):
            operation()
    with pytest.raises(TicketNotFound):
        ticket.verify(WRONG)
    body = json.loads(ticket.create(reason="came back").body)

    assert (body["version"], body["resetCount"], body["stateName"]) == (4, 0, "active")
    assert events(ticket) == ["TicketCreated", "TicketRegenerated", "TicketDeleted", "TicketCreated"]
    assert ticket.verify(ticket.newest())["verified"]


# verify


def test_a_correct_ticket_is_accepted_once(ticket: Service) -> None:
    first, again = ticket.verify(ticket.newest()), ticket.verify(ticket.newest())

    assert first == {"verified": True, "reason": None, "lockedUntil": None}
    assert again == {"verified": False, "reason": "used", "lockedUntil": None}
    assert (row(ticket).successful_login_count, row(ticket).success_count) == (1, 1)
    assert row(ticket).last_successful_login_date == NOW


def test_a_reusable_ticket_is_accepted_again(ticket: Service) -> None:
    ticket.define("default", policy=TicketPolicy(reusable=True))

    assert [ticket.verify(ticket.newest())["verified"] for _ in range(3)] == [True] * 3
    assert row(ticket).successful_login_count == 3


def test_wrong_tickets_lock_temporarily_then_permanently(ticket: Service) -> None:
    assert ticket.verify(WRONG) == {"verified": False, "reason": "wrong-ticket", "lockedUntil": None}
    locking = ticket.verify(WRONG)
    assert locking == {"verified": False, "reason": "wrong-ticket", "lockedUntil": "2026-11-23T09:43:00Z"}
    assert row(ticket).state_name == "tmp-locked"
    assert ticket.verify(ticket.newest())["reason"] == "locked"

    ticket.clock.advance(timedelta(minutes=1))
    assert (row(ticket).state_name, row(ticket).state_change_reason) == ("active", "unlock")
    assert ticket.verify(WRONG)["reason"] == "wrong-ticket"

    assert (row(ticket).state_name, row(ticket).failed_login_count) == ("fail-locked", 3)
    ticket.clock.advance(timedelta(hours=1))
    assert ticket.verify(ticket.newest()) == {"verified": False, "reason": "locked", "lockedUntil": None}


def test_a_correct_ticket_resets_the_failure_count(ticket: Service) -> None:
    ticket.verify(WRONG)
    ticket.verify(WRONG)
    ticket.clock.advance(timedelta(minutes=1))

    assert ticket.verify(ticket.newest())["verified"]

    assert (row(ticket).failed_login_count, row(ticket).failure_count) == (0, 2)


def test_requests_do_not_grow_the_history_of_a_locked_ticket(ticket: Service) -> None:
    for _ in range(50):
        ticket.verify(WRONG)
    assert len(events(ticket)) == 3

    ticket.clock.advance(timedelta(minutes=1))
    for _ in range(50):
        ticket.verify(WRONG)
    assert len(events(ticket)) == 4


def test_a_reset_removes_a_lock(ticket: Service) -> None:
    ticket.verify(ticket.newest())
    for _ in range(3):
        ticket.verify(WRONG)
    old = ticket.newest()

    ticket.regenerate()

    assert ticket.verify(old)["reason"] == "wrong-ticket"
    assert ticket.verify(ticket.newest())["verified"]
    assert row(ticket).success_count == 2


@pytest.mark.parametrize(
    ("state", "reason"), [(State.DISABLED, "disabled"), (State.ARCHIVED, "disabled"), (State.ACTIVE, None)]
)
def test_an_inactive_ticket_is_rejected(ticket: Service, state: State, reason: str) -> None:
    ticket.modify(state=state)

    assert ticket.verify(ticket.newest())["reason"] == reason


def test_a_ticket_is_rejected_outside_its_validity(ticket: Service) -> None:
    ticket.modify(valid_from=NOW + timedelta(days=1), valid_to=NOW + timedelta(days=2))

    reasons = []
    for _ in range(3):
        reasons.append(ticket.verify(WRONG)["reason"])
        ticket.clock.advance(timedelta(days=1))

    assert reasons == ["not-yet-valid", "wrong-ticket", "expired"]


def test_activation_removes_a_lock(ticket: Service) -> None:
    ticket.define("default", policy=TicketPolicy(tmp_locking_threshold=-1, max_cred_failure_count=1))
    ticket.verify(WRONG)
    assert row(ticket).state_name == "fail-locked"

    ticket.modify(state=State.ACTIVE)

    assert ticket.verify(ticket.newest())["verified"]


def test_an_activation_keeps_the_misses(ticket: Service) -> None:
    for _ in range(2):
        ticket.verify(WRONG)
    ticket.modify(state=State.ACTIVE)
    ticket.verify(WRONG)

    for number in range(3, 6):
        assert (row(ticket).state_name, row(ticket).failed_login_count) == ("fail-locked", number)
        ticket.modify(state=State.DISABLED)
        ticket.modify(state=State.ACTIVE)
        assert ticket.verify(WRONG)["reason"] == "wrong-ticket"

    ticket.modify(state=State.ACTIVE)
    assert ticket.verify(ticket.newest())["verified"]
    assert row(ticket).failed_login_count == 0


def missed(ticket: Service, count: int) -> None:
    """Present wrong tickets, and activate the ticket after each."""
    for _ in range(count - 1):
        ticket.verify(WRONG)
        ticket.modify(state=State.ACTIVE)
    ticket.verify(WRONG)


@pytest.mark.parametrize(
    "policy",
    [
        TicketPolicy(),
        TicketPolicy(max_cred_failure_count=-1, tmp_locking_threshold=100, tmp_locking_duration=1_000),
        TicketPolicy(max_cred_failure_count=-1, tmp_locking_threshold=1),
    ],
    ids=["default", "late lock", "temporary locks"],
)
def test_after_100_misses_only_a_reset_makes_a_ticket_verify(ticket: Service, policy: TicketPolicy) -> None:
    ticket.define("default", policy=policy)
    missed(ticket, 100)

    assert (row(ticket).state_name, row(ticket).locked_until) == ("fail-locked", None)
    with pytest.raises(CredentialLocked, match=r"100 wrong tickets in a row .* Reset the ticket"):
        ticket.modify(state=State.ACTIVE)
    ticket.modify(state=State.DISABLED)
    ticket.modify(state=State.ACTIVE)
    ticket.clock.advance(timedelta(hours=1))
    assert row(ticket).state_name == "fail-locked"
    assert ticket.verify(ticket.newest()) == {"verified": False, "reason": "locked", "lockedUntil": None}

    ticket.regenerate()

    assert ticket.verify(ticket.newest())["verified"]


def test_99_misses_and_the_right_ticket_begin_a_new_count(ticket: Service) -> None:
    ticket.define("default", policy=TicketPolicy(reusable=True))
    missed(ticket, 99)
    ticket.modify(state=State.ACTIVE)

    assert ticket.verify(ticket.newest())["verified"]
    missed(ticket, 99)
    ticket.modify(state=State.ACTIVE)
    assert ticket.verify(ticket.newest())["verified"]


def test_an_unknown_user_is_refused(service: Service) -> None:
    with pytest.raises(UserNotFound):
        service.verify(WRONG)


# policies


def test_a_changed_policy_applies_to_the_next_operation(ticket: Service) -> None:
    ticket.define("default", policy=TicketPolicy(ticket_length=40, credential_lifetime=3_600_000))
    assert len(ticket.newest().reveal()) == 24

    ticket.regenerate()

    assert len(ticket.newest().reveal()) == 40
    assert row(ticket).valid_to == NOW + timedelta(hours=1)


def test_a_client_has_one_default(service: Service) -> None:
    service.define("a", is_default=True)
    service.define("b", is_default=True)
    service.register()

    service.create()

    assert row(service).policy_ext_id == "b"
    found = read_policies("client-123", service.store.load([policies_of("client-123")]))
    assert [(policy.policy_ext_id, policy.is_default, policy.version) for policy in found] == [
        ("a", False, 2),
        ("b", True, 1),
    ]


def test_an_invalid_policy_changes_nothing(service: Service) -> None:
    with pytest.raises(InvalidPolicy):
        service.define("weak", policy=TicketPolicy(ticket_length=4))

    assert read_policies("client-123", service.store.load([policies_of("client-123")])) == []


def test_another_client_does_not_see_the_policy(service: Service) -> None:
    service.define("a", is_default=True)
    other = SUBJECT._replace(client_ext_id="client-2")
    service.register(subject=other)

    with pytest.raises(UnknownPolicy):
        service.create(subject=other, policy_ext_id="a")


def test_slow_hashes_are_computed_outside_the_writer(service: Service) -> None:
    service.define("default", policy=ARGON2)
    service.register()
    service.create()

    assert row(service).ticket_hash.startswith("{ARGON2ID}")
    assert service.verify(WRONG)["reason"] == "wrong-ticket"
    assert service.verify(service.newest())["verified"]


def test_a_refused_command_computes_no_slow_hash(ticket: Service) -> None:
    ticket.define("default", policy=ARGON2)
    ticket.modify(state=State.DISABLED)
    ticket.register(subject=OTHER)

    with pytest.raises(CredentialDisabled):
        ticket.commands.execute(command(RegenerateTicket)).unwrap()
    with pytest.raises(InvalidValidity):
        ticket.commands.execute(command(CreateTicket, subject=OTHER, valid_from=NOW, valid_to=NOW)).unwrap()


def test_a_weak_hash_is_upgraded_when_a_reusable_ticket_is_accepted(ticket: Service) -> None:
    ticket.define("default", policy=TicketPolicy(hash_algorithm=HashAlgorithm.ARGON2ID, reusable=True))

    assert ticket.verify(ticket.newest())["verified"]

    assert events(ticket)[1:] == ["TicketVerified", "TicketHashUpgraded"]
    assert row(ticket).ticket_hash.startswith("{ARGON2ID}")
    assert ticket.verify(ticket.newest())["verified"]
    assert events(ticket)[3:] == ["TicketVerified"]
