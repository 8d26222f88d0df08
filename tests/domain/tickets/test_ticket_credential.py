"""The aggregate: given (events) / when (a method) / then (an event or a refusal)."""

from dataclasses import replace
from datetime import timedelta

import pytest
from msgspec import UNSET
from msgspec.structs import asdict
from msgspec.structs import replace as replace_struct

from domain.policies.policy import DEFAULT_POLICY, OFF, TicketPolicy
from domain.tickets.events import TicketCreated, TicketRegenerated, TicketStateChanged, stream_id
from domain.tickets.evolution import evolve
from domain.tickets.guessing_limit import CredentialLocked
from domain.tickets.states import State
from domain.tickets.ticket import ClearTicket
from domain.tickets.ticket_credential import (
    CredentialArchived,
    CredentialDisabled,
    TicketCredential,
    Verdict,
)
from domain.tickets.validity import InvalidValidity, Validity
from tests.support.fakes import NOW, SUBJECT, attribution

POLICY = TicketPolicy(credential_lifetime=6 * 86_400_000)
VALIDITY = Validity(NOW, NOW + timedelta(days=5))


def second() -> tuple[ClearTicket, str]:
    return ClearTicket("second"), "{SSHA256}second"


def created(state: State = State.ACTIVE) -> TicketCredential:
    credential = TicketCredential.of(SUBJECT, None)
    credential.create(
        SUBJECT,
        ext_id="ext-1",
        policy_ext_id="default",
        state=state,
        ticket_hash="{SSHA256}first",
        validity=VALIDITY,
        daily_limit=OFF,
        by=attribution(),
    )
    return credential


def test_creating_emits_ticket_created_with_version_1() -> None:
    credential = created()

    [event] = credential.collect_events()

    assert isinstance(event, TicketCreated)
    assert (event.originator_version, event.ticket_hash) == (1, "{SSHA256}first")
    assert credential.id == stream_id("client-123", "user-123")


def test_regenerating_emits_the_new_hash_the_next_count_and_the_next_version() -> None:
    credential = created()
    credential.collect_events()

    credential.regenerate(POLICY, second, daily_limit=OFF, by=attribution())

    [event] = credential.collect_events()
    assert isinstance(event, TicketRegenerated)
    assert (event.ticket_hash, event.reset_count, event.originator_version) == ("{SSHA256}second", 1, 2)


def test_every_event_carries_its_attribution() -> None:
    by = attribution(actor="alice", reason="lost letter", correlation_id="trace", command_id="cmd")
    credential = created()

    credential.regenerate(POLICY, second, daily_limit=OFF, by=by)

    event = credential.collect_events()[-1]
    assert asdict(by).items() <= vars(event).items()


def test_regenerating_evolves_hash_count_validity_and_version() -> None:
    credential = created()
    later = NOW + timedelta(days=1)

    credential.regenerate(POLICY, second, daily_limit=OFF, by=attribution(timestamp=later))

    assert (credential.current.ticket_hash, credential.current.reset_count) == ("{SSHA256}second", 1)
    assert (credential.current.valid_to, credential.version) == (later + POLICY.lifetime, 2)


@pytest.mark.parametrize(
    "state",
    [
        State.INITIAL,
        State.ACTIVE,
        State.TMP_LOCKED,
        State.FAIL_LOCKED,
        State.RESET_CODE,
        State.ADMIN_CHANGED,
    ],
)
def test_regenerating_removes_a_lock(state: State) -> None:
    credential = created(state)

    credential.regenerate(POLICY, second, daily_limit=OFF, by=attribution())

    assert credential.current.state_name is State.ACTIVE


@pytest.mark.parametrize(
    ("state", "refusal"), [(State.DISABLED, CredentialDisabled), (State.ARCHIVED, CredentialArchived)]
)
def test_a_disabled_or_archived_credential_cannot_be_reset(state: State, refusal: type[Exception]) -> None:
    credential = created(state)
    credential.collect_events()

    with pytest.raises(refusal):
        credential.regenerate(POLICY, second, daily_limit=OFF, by=attribution())

    assert credential.collect_events() == []
    assert (credential.version, credential.current.ticket_hash) == (1, "{SSHA256}first")


def test_a_state_change_of_release_1_0_ends_the_count_of_misses() -> None:
    credential = created()
    credential.verify(POLICY, matches=False, by=attribution())
    credential.change_state(State.DISABLED, by=attribution())
    *_, event = credential.collect_events()
    assert isinstance(event, TicketStateChanged)

    of_release_1_0 = replace(event, failed_login_count=UNSET)

    assert credential.current.failed_login_count == event.failed_login_count == 1
    assert evolve(credential.current, of_release_1_0).failed_login_count == 0


def test_a_stored_policy_that_locks_for_a_millisecond_permits_100_guesses() -> None:
    policy = TicketPolicy(max_cred_failure_count=-1, tmp_locking_threshold=100, tmp_locking_duration=1)
    credential = created()
    verdicts = [
        credential.verify(policy, matches=False, by=attribution(timestamp=NOW + timedelta(seconds=second)))
        for second in range(200)
    ]

    assert verdicts == [Verdict.WRONG_TICKET] * 100 + [Verdict.LOCKED] * 100


def test_a_ticket_with_more_misses_in_a_store_of_release_1_0_is_locked() -> None:
    credential = created()
    found = TicketCredential.of(SUBJECT, replace_struct(credential.current, failed_login_count=5_000))

    assert found.verify(POLICY, matches=True, by=attribution()) is Verdict.LOCKED
    with pytest.raises(CredentialLocked):
        found.change_state(State.ACTIVE, by=attribution())


def test_a_validity_must_end_after_its_start() -> None:
    with pytest.raises(InvalidValidity):
        Validity(NOW, NOW)


def test_a_validity_after_the_year_9999_is_refused() -> None:
    with pytest.raises(InvalidValidity):
        Validity.by(TicketPolicy(credential_lifetime=3_000_000 * 86_400_000), NOW)


def test_the_policy_sets_the_validity() -> None:
    assert Validity.by(DEFAULT_POLICY, NOW) == Validity(NOW, NOW + timedelta(days=5))


def test_similar_ids_have_different_streams() -> None:
    assert stream_id("a", "bc") != stream_id("ab", "c")


def test_the_stream_id_of_a_user_never_changes() -> None:
    assert str(stream_id("client-123", "user-123")) == "a56987fa-63ae-5534-8f1d-930b9ce4a8d1"
