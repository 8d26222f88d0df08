from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from application.shared.errors import IdempotencyKeyReused
from application.transaction.command import Answer, CommandKey
from application.transaction.outcomes import CODES, REFUSALS, Outcome
from domain.shared.errors import CredentialDisabled, Refusal
from domain.tickets.states import State
from tests.support.fakes import SUBJECT, FakeStore
from tests.support.service import Service

KEY = {"retryable": True, "command_id": "key-1"}


def test_a_retry_gets_the_first_answer_and_nothing_happens_twice(service: Service) -> None:
    service.register()
    service.create()

    first = service.regenerate(**KEY)
    service.regenerate()
    again = service.regenerate(**KEY)

    assert again == first
    assert len(service.store.history(SUBJECT)) == 3


def test_a_retry_of_a_refusal_gets_the_refusal_although_it_would_now_succeed(service: Service) -> None:
    service.register()
    service.create(state=State.DISABLED)
    with pytest.raises(CredentialDisabled) as first:
        service.regenerate(**KEY)
    store = service.store
    assert isinstance(store, FakeStore)
    store.known.tickets[SUBJECT] = replace(store.known.tickets[SUBJECT], state_name=State.ACTIVE)

    with pytest.raises(CredentialDisabled) as again:
        service.regenerate(**KEY)

    assert str(again.value) == str(first.value)


@pytest.fixture
def _renamed() -> Iterator[None]:
    CredentialDisabled.__name__ = "CredentialBlocked"
    yield
    CredentialDisabled.__name__ = "CredentialDisabled"


@pytest.mark.usefixtures("_renamed")
def test_a_stored_refusal_outlives_the_name_of_its_class(service: Service) -> None:
    service.register()
    service.create(state=State.DISABLED)
    with pytest.raises(CredentialDisabled):
        service.regenerate(**KEY)

    [answer] = service.store.look_up([], [CommandKey("client-123", "key-1")]).answers.values()

    assert answer.outcome == "CredentialDisabled"
    with pytest.raises(CredentialDisabled):
        service.regenerate(**KEY)


def test_every_refusal_has_a_code() -> None:
    assert set(CODES) == set(Refusal.__subclasses__())
    assert set(REFUSALS).isdisjoint(Outcome)


@pytest.mark.parametrize("outcome", ["CredentialBlocked", "Created", ""])
def test_an_unknown_outcome_is_an_error(outcome: str) -> None:
    with pytest.raises(ValueError, match=f"unknown outcome of a command: '{outcome}'"):
        Answer(outcome=outcome, body="", correlation_id="", request_digest="")


def test_the_same_key_with_another_request_is_refused(service: Service) -> None:
    service.register()
    service.create()
    service.regenerate(**KEY)

    with pytest.raises(IdempotencyKeyReused):
        service.regenerate(**KEY, request_digest="another")

    assert len(service.store.history(SUBJECT)) == 2


def test_a_key_is_known_within_its_client_only(service: Service) -> None:
    other = SUBJECT._replace(client_ext_id="client-2")
    service.register()
    service.register(subject=other)

    assert service.create(**KEY).version == 1
    assert service.create(**KEY, subject=other).version == 1


def test_without_a_key_every_request_is_its_own(service: Service) -> None:
    service.register()
    service.create()

    assert [service.regenerate().version for _ in range(3)] == [2, 3, 4]
