"""Contract of every SlowHash."""

import pytest
from argon2 import extract_parameters

from application.tickets.minting import SlowHash
from domain.tickets.stored_hash import ARGON2ID, is_slow
from domain.tickets.ticket import ClearTicket
from interface.outbound.keys.argon2_hash import _DECOY, Argon2Hash
from tests.support.fakes import FakeSlowHash


@pytest.fixture(params=["fake", "argon2"])
def slow_hash(request: pytest.FixtureRequest) -> SlowHash:
    return FakeSlowHash() if request.param == "fake" else Argon2Hash()


def test_only_the_correct_ticket_matches(slow_hash: SlowHash) -> None:
    ticket_hash = slow_hash.hash(ClearTicket("ticket"))

    assert slow_hash.matches(ClearTicket("ticket"), ticket_hash)
    assert not slow_hash.matches(ClearTicket("other"), ticket_hash)


def test_the_hash_has_the_algorithm_prefix(slow_hash: SlowHash) -> None:
    assert is_slow(slow_hash.hash(ClearTicket("ticket")))


@pytest.mark.parametrize("ticket_hash", [None, "{ARGON2ID}", "{ARGON2ID}nonsense"])
def test_no_ticket_matches_without_a_hash(slow_hash: SlowHash, ticket_hash: str | None) -> None:
    assert not slow_hash.matches(ClearTicket(""), ticket_hash)


def test_argon2id_has_the_parameters_of_owasp() -> None:
    assert Argon2Hash().hash(ClearTicket("t")).startswith("{ARGON2ID}$argon2id$v=19$m=47104,t=1,p=1$")


def test_a_missing_hash_costs_as_much_as_an_existing_one() -> None:
    existing = Argon2Hash().hash(ClearTicket("ticket")).removeprefix(ARGON2ID)

    assert extract_parameters(_DECOY) == extract_parameters(existing)
