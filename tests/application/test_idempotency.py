import pytest
from msgspec.structs import replace

from application.errors import IdempotencyKeyReused
from domain.errors import CredentialDisabled
from domain.states import State
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
