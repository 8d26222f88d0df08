import base64
import hashlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.policies.policy import DEFAULT_POLICY, UNAMBIGUOUS_CHARACTERS, TicketPolicy
from domain.tickets.ticket import ClearTicket, hash_ticket, is_weaker, mint, verify_ticket
from tests.support.fakes import FakeRandomness

SALT = bytes(range(16))


def test_the_built_in_alphabet_has_57_unambiguous_characters() -> None:
    assert len(set(UNAMBIGUOUS_CHARACTERS)) == len(UNAMBIGUOUS_CHARACTERS) == 57
    assert not set(UNAMBIGUOUS_CHARACTERS) & set("0O1lI")


def test_a_minted_ticket_has_the_length_and_characters_of_the_policy() -> None:
    policy = TicketPolicy(ticket_length=40, ticket_character_set="ab")

    ticket = mint(policy, FakeRandomness().below).reveal()

    assert len(ticket) == 40
    assert set(ticket) == {"a", "b"}


def test_every_character_of_the_policy_can_be_drawn() -> None:
    each_once = sum(place * 57**place for place in range(57))

    ticket = mint(TicketPolicy(ticket_length=57), lambda _: each_once)

    assert ticket.reveal() == UNAMBIGUOUS_CHARACTERS


def test_every_allowed_ticket_can_be_minted() -> None:
    asked = []

    def below(bound: int) -> int:
        asked.append(bound)
        return bound - 1

    policy = TicketPolicy(ticket_length=30, ticket_character_set="abc")

    assert mint(policy, below).reveal() == "c" * 30
    assert asked == [3**30]


def test_two_tickets_are_different() -> None:
    below = FakeRandomness().below

    assert mint(DEFAULT_POLICY, below).reveal() != mint(DEFAULT_POLICY, below).reveal()


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
    "malformed", ["", "{SSHA256}", "{SSHA256}%%%", "{SSHA256}AAAA", "{MD5}AAAA", "plain", "{SSHA256}é"]
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
