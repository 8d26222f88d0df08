from collections.abc import Iterator

import pytest

from application.transaction.command import ANSWERS, Answer, CommandKey, IdempotencyKeyReused
from application.transaction.outcomes import Outcome
from application.transaction.records import Load
from domain.shared.errors import REFUSALS, Refusal
from domain.tickets.states import State
from domain.tickets.ticket_credential import CredentialDisabled
from tests.support.fakes import SUBJECT
from tests.support.service import Service
from tests.support.stores import history_of, loaded

KEY = {"retryable": True, "command_id": "key-1"}


def test_a_retry_returns_the_first_answer(service: Service) -> None:
    service.register()
    service.create()

    first = service.regenerate(**KEY)
    service.regenerate()
    again = service.regenerate(**KEY)

    assert again == first
    assert len(history_of(service.store, SUBJECT)) == 3


def test_a_retry_of_a_refusal_returns_the_refusal(service: Service) -> None:
    service.register()
    service.create(state=State.DISABLED)
    with pytest.raises(CredentialDisabled) as first:
        service.regenerate(**KEY)
    service.modify(state=State.ACTIVE)

    with pytest.raises(CredentialDisabled) as again:
        service.regenerate(**KEY)

    assert str(again.value) == str(first.value)


@pytest.fixture
def _renamed() -> Iterator[None]:
    CredentialDisabled.__name__ = "CredentialBlocked"
    yield
    CredentialDisabled.__name__ = "CredentialDisabled"


@pytest.mark.usefixtures("_renamed")
def test_a_stored_refusal_does_not_depend_on_the_class_name(service: Service) -> None:
    service.register()
    service.create(state=State.DISABLED)
    with pytest.raises(CredentialDisabled):
        service.regenerate(**KEY)

    key = CommandKey("client-123", "key-1")
    answer = loaded(service.store, Load(ANSWERS, key)).all(ANSWERS)[key]

    assert answer.outcome == "CredentialDisabled"
    with pytest.raises(CredentialDisabled):
        service.regenerate(**KEY)


def test_every_refusal_has_a_code() -> None:
    assert set(REFUSALS.values()) == set(Refusal.__subclasses__())
    assert set(REFUSALS).isdisjoint(Outcome)


@pytest.mark.parametrize("outcome", ["CredentialBlocked", "Created", ""])
def test_an_unknown_outcome_is_an_error(outcome: str) -> None:
    with pytest.raises(ValueError, match=f"unknown outcome of a command: '{outcome}'"):
        Answer(outcome=outcome, body="", correlation_id="", request_digest="")


def test_a_reused_key_is_refused(service: Service) -> None:
    service.register()
    service.create()
    service.regenerate(**KEY)

    with pytest.raises(IdempotencyKeyReused):
        service.regenerate(**KEY, request_digest="another")

    assert len(history_of(service.store, SUBJECT)) == 2


def test_a_key_is_valid_within_its_client_only(service: Service) -> None:
    other = SUBJECT._replace(client_ext_id="client-2")
    service.register()
    service.register(subject=other)

    assert service.create(**KEY).version == 1
    assert service.create(**KEY, subject=other).version == 1


def test_requests_without_a_key_are_independent(service: Service) -> None:
    service.register()
    service.create()

    assert [service.regenerate().version for _ in range(3)] == [2, 3, 4]
