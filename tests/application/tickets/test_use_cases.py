import json
from datetime import timedelta
from typing import Any

import pytest

from application.policies.records import UnknownPolicy
from application.tickets.records import TicketExists, TicketNotFound
from application.transaction.command import Precondition, PreconditionFailed
from application.users.records import UserNotFound
from domain.policies.policy import HashAlgorithm, TicketPolicy
from domain.tickets.states import State
from domain.tickets.ticket import verify_ticket
from domain.tickets.ticket_credential import CredentialArchived, CredentialDisabled
from domain.tickets.validity import InvalidValidity
from tests.support.fakes import NOW, SUBJECT
from tests.support.service import Service
from tests.support.stores import history_of, live_ticket, stored_user


def body_of(answer: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(answer.body)
    return body


def test_creating_a_ticket_requires_a_user(service: Service) -> None:
    with pytest.raises(UserNotFound):
        service.create()
    with pytest.raises(UserNotFound):
        service.regenerate()


def test_a_reset_requires_a_ticket(service: Service) -> None:
    service.register()

    with pytest.raises(TicketNotFound):
        service.regenerate()


def test_a_user_has_one_ticket(service: Service) -> None:
    service.register()
    service.create()

    with pytest.raises(TicketExists):
        service.create()


def test_a_new_ticket_is_active_and_valid_for_the_lifetime_of_the_policy(service: Service) -> None:
    service.register()

    body = body_of(service.create())

    assert (body["stateName"], body["stateChangeReason"], body["version"]) == ("active", "initialized", 1)
    assert body["validity"] == {"from": "2026-11-23T09:42:00Z", "to": "2026-11-28T09:42:00Z"}


def test_a_reset_increments_the_count_and_starts_a_new_validity(service: Service) -> None:
    service.register()
    service.create()
    service.clock.advance(timedelta(days=2))

    body = body_of(service.regenerate(reason="lost letter"))

    assert (body["resetCount"], body["version"], body["modificationComment"]) == (1, 2, "lost letter")
    assert (body["stateName"], body["stateChangeReason"]) == ("active", "reset")
    assert body["validity"] == {"from": "2026-11-25T09:42:00Z", "to": "2026-11-30T09:42:00Z"}
    assert (body["created"], body["lastModified"]) == ("2026-11-23T09:42:00Z", "2026-11-25T09:42:00Z")


def test_a_reset_keeps_the_ids_of_credential_and_policy(service: Service) -> None:
    service.register()
    before = body_of(service.create(ext_id="my-ticket"))

    after = body_of(service.regenerate())

    assert [after[name] for name in ("extId", "policyExtId", "userExtId", "created")] == [
        before[name] for name in ("extId", "policyExtId", "userExtId", "created")
    ]


def test_a_reset_invalidates_the_former_ticket(service: Service) -> None:
    service.register()
    service.create()
    service.regenerate()

    ticket_hash = live_ticket(service.store, SUBJECT).ticket_hash

    (_, old), (_, new) = service.sealer.sealed
    assert (verify_ticket(old, ticket_hash), verify_ticket(new, ticket_hash)) == (False, True)


@pytest.mark.parametrize(
    ("state", "refusal"), [(State.DISABLED, CredentialDisabled), (State.ARCHIVED, CredentialArchived)]
)
def test_a_refused_reset_changes_nothing(service: Service, state: State, refusal: type[Exception]) -> None:
    service.register()
    service.create(state=state)
    before = live_ticket(service.store, SUBJECT)

    with pytest.raises(refusal):
        service.regenerate()

    assert live_ticket(service.store, SUBJECT) == before
    assert len(history_of(service.store, SUBJECT)) == 1


@pytest.mark.parametrize("if_match", [frozenset({1}), frozenset({7, 1}), "*"])
def test_a_reset_succeeds_if_the_precondition_is_satisfied(
    service: Service, if_match: frozenset[int] | str
) -> None:
    service.register()
    service.create()

    assert service.regenerate(precondition=Precondition(if_match=if_match)).version == 2


def test_a_reset_fails_if_the_precondition_is_not_satisfied(service: Service) -> None:
    service.register()
    service.create()

    with pytest.raises(PreconditionFailed):
        service.regenerate(precondition=Precondition(if_match=frozenset({2})))


def test_if_match_fails_if_the_ticket_does_not_exist(service: Service) -> None:
    service.register()

    with pytest.raises(PreconditionFailed):
        service.create(precondition=Precondition(if_match="*"))


def test_an_unknown_policy_is_refused(service: Service) -> None:
    service.register()

    with pytest.raises(UnknownPolicy):
        service.create(policy_ext_id="no-such-policy")


def test_a_given_validity_is_used(service: Service) -> None:
    service.register()

    body = body_of(service.create(valid_from=NOW + timedelta(days=1), valid_to=NOW + timedelta(days=2)))

    assert body["validity"] == {"from": "2026-11-24T09:42:00Z", "to": "2026-11-25T09:42:00Z"}


def test_a_validity_that_ends_in_the_past_is_refused(service: Service) -> None:
    service.register()

    with pytest.raises(InvalidValidity):
        service.create(valid_to=NOW - timedelta(seconds=1))


def test_registering_again_replaces_all_user_data(service: Service) -> None:
    service.register(name="Una", language="de")

    answer = service.register(email="new@example.com")

    user = stored_user(service.store, SUBJECT)
    assert (user.email, user.name, user.language, user.version) == ("new@example.com", None, None, 2)
    assert (answer.outcome, answer.version) == ("changed", 2)


def test_registering_unchanged_data_changes_nothing(service: Service) -> None:
    service.register()

    assert (service.register().outcome, service.register().version) == ("unchanged", 1)


def test_registering_honours_the_precondition(service: Service) -> None:
    with pytest.raises(PreconditionFailed):
        service.register(precondition=Precondition(if_match="*"))
    service.register(precondition=Precondition(if_none_match="*"))
    with pytest.raises(PreconditionFailed):
        service.register(precondition=Precondition(if_none_match="*"))
    assert (
        service.register(email="b@example.com", precondition=Precondition(if_match=frozenset({1}))).version
        == 2
    )


@pytest.mark.parametrize("algorithm", HashAlgorithm)
def test_a_ticket_is_accepted_as_a_person_types_it(service: Service, algorithm: HashAlgorithm) -> None:
    service.register()
    service.define("default", policy=TicketPolicy(hash_algorithm=algorithm, reusable=True))
    service.create()
    ticket = service.newest().reveal()

    for typed in (ticket, f" {ticket}\n", " ".join(ticket), f"{ticket[:8]}-{ticket[8:]}"):
        assert service.verify(typed)["verified"]
    assert live_ticket(service.store, SUBJECT).failure_count == 0


def test_a_ticket_is_hashed_again_without_typed_blanks(service: Service) -> None:
    service.register()
    service.define("default", policy=TicketPolicy(reusable=True))
    service.create()
    ticket = service.newest().reveal()
    service.define("default", policy=TicketPolicy(reusable=True, hash_algorithm=HashAlgorithm.ARGON2ID))

    assert service.verify(f"{ticket[:12]} {ticket[12:]}")["verified"]
    assert live_ticket(service.store, SUBJECT).ticket_hash.startswith("{ARGON2ID}")
    assert service.verify(ticket)["verified"]


def test_a_ticket_of_an_earlier_character_set_is_accepted(service: Service) -> None:
    service.register()
    service.define(
        "default", policy=TicketPolicy(ticket_character_set="aB-", ticket_length=80, reusable=True)
    )
    service.create()
    ticket = service.newest().reveal()
    lower = TicketPolicy(
        ticket_character_set="abc", ticket_length=80, ticket_case_insensitive=True, reusable=True
    )
    service.define("default", policy=lower)

    assert {"B", "-"} <= set(ticket)
    assert service.verify(ticket)["verified"]
