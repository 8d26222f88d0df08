import base64
import hashlib
import pickle
import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.policies.policy import DEFAULT_POLICY, UNAMBIGUOUS_CHARACTERS, TicketPolicy
from domain.tickets.ticket import ClearTicket, hash_ticket, is_weaker, mint, verify_ticket
from tests.support.fakes import FakeRandomness

SALT = bytes(range(16))
PRINTABLE = string.digits + string.ascii_letters + string.punctuation


def test_the_built_in_alphabet_has_57_unambiguous_characters() -> None:
    assert len(set(UNAMBIGUOUS_CHARACTERS)) == len(UNAMBIGUOUS_CHARACTERS) == 57
    assert not set(UNAMBIGUOUS_CHARACTERS) & set("0O1lI")


def test_a_minted_ticket_has_the_length_and_characters_of_the_policy() -> None:
    policy = TicketPolicy(ticket_length=40, ticket_character_set="ab")

    ticket = mint(policy, FakeRandomness().octets).reveal()

    assert len(ticket) == 40
    assert set(ticket) == {"a", "b"}


@pytest.mark.parametrize("count", [1, 2, 57, 86, 94])
def test_every_character_is_equally_likely(count: int) -> None:
    policy = TicketPolicy(ticket_length=256 // count * count, ticket_character_set=PRINTABLE[:count])

    ticket = mint(policy, lambda _: bytes(range(256))).reveal()

    assert set(Counter(ticket).values()) == {256 // count}
    assert set(ticket) == set(PRINTABLE[:count])


def test_a_ticket_takes_one_draw_or_more_if_too_many_octets_are_dropped() -> None:
    draws = iter([b"\xff" * 47 + b"\0", bytes(48)])

    assert mint(DEFAULT_POLICY, lambda _: next(draws)).reveal() == "2" * 24
    assert list(draws) == []


def test_two_tickets_are_different() -> None:
    octets = FakeRandomness().octets

    assert mint(DEFAULT_POLICY, octets).reveal() != mint(DEFAULT_POLICY, octets).reveal()


def test_a_clear_ticket_is_printed_as_stars() -> None:
    ticket = ClearTicket("top-secret")

    assert f"{ticket} {ticket!r} {[ticket]}" == "*** *** [***]"


def test_a_clear_ticket_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(ClearTicket("top-secret"))


def test_the_hash_is_the_ssha256_of_ticket_and_salt() -> None:
    digest = hashlib.sha256(b"ticket" + SALT).digest()

    expected = "{SSHA256}" + base64.b64encode(digest + SALT).decode()

    assert hash_ticket(ClearTicket("ticket"), SALT) == expected


@given(st.text(), st.binary(min_size=16, max_size=16))
def test_the_correct_ticket_matches(text: str, salt: bytes) -> None:
    assert verify_ticket(ClearTicket(text), hash_ticket(ClearTicket(text), salt))


@given(st.text(), st.text())
def test_another_ticket_does_not_match(right: str, wrong: str) -> None:
    assert verify_ticket(ClearTicket(wrong), hash_ticket(ClearTicket(right), SALT)) is (right == wrong)


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "{SSHA256}",
        "{SSHA256}%%%",
        "{SSHA256}AAAA",
        "{MD5}AAAA",
        "plain",
        f"xSSHA256}}{'A' * 64}",
        "{SSHA256}é",
    ],
)
def test_a_malformed_hash_matches_no_ticket(malformed: str) -> None:
    assert not verify_ticket(ClearTicket(""), malformed)


def test_an_imported_sha_1_hash_matches_and_is_the_weakest() -> None:
    imported = "{SSHA}" + base64.b64encode(hashlib.sha1(b"ticket" + SALT).digest() + SALT).decode()

    assert verify_ticket(ClearTicket("ticket"), imported)
    assert not verify_ticket(ClearTicket("other"), imported)
    assert is_weaker(imported, DEFAULT_POLICY)


def test_a_hash_with_the_policys_algorithm_is_not_weaker() -> None:
    assert not is_weaker(hash_ticket(ClearTicket("ticket"), SALT), DEFAULT_POLICY)
    assert not is_weaker("{ARGON2ID}$argon2id$", DEFAULT_POLICY)
