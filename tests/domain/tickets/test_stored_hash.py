import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.tickets.stored_hash import (
    fast_hash,
    fault_of_hash,
    is_slow,
    kind_of,
    with_prepended_salt,
    wrapped,
)
from domain.tickets.ticket import ClearTicket, verify_ticket
from interface.outbound.keys.argon2_hash import Argon2Hash

PHC = "{ARGON2ID}$argon2id$v=19$m=47104,t=1,p=1$c2FsdHNhbHRzYWx0c2E$" + "A" * 43
ALGORITHMS = {"SSHA256": hashlib.sha256, "SSHA": hashlib.sha1}
salts = st.binary(min_size=1, max_size=64)


def hashed(kind: str, ticket: str, salt: bytes, *, salt_first: bool = False) -> str:
    """Return the hash as another system has stored it."""
    secret = salt + ticket.encode() if salt_first else ticket.encode() + salt
    return f"{{{kind}}}" + base64.b64encode(ALGORITHMS[kind](secret).digest() + salt).decode()


@pytest.mark.parametrize("kind", ALGORITHMS)
@given(st.text(), st.text(), salts)
def test_a_hash_with_a_salt_of_any_length_matches_its_ticket(
    kind: str, right: str, other: str, salt: bytes
) -> None:
    stored = hashed(kind, right, salt)

    assert fault_of_hash(stored) is None
    assert verify_ticket(ClearTicket(right), stored)
    assert verify_ticket(ClearTicket(other), stored) is (other == right)


@pytest.mark.parametrize("kind", ALGORITHMS)
@given(st.text(), salts)
def test_a_prepended_salt_is_a_separate_kind(kind: str, ticket: str, salt: bytes) -> None:
    stored = with_prepended_salt(hashed(kind, ticket, salt, salt_first=True))

    assert kind_of(stored) == f"P{kind}"
    assert fault_of_hash(stored) is None
    assert verify_ticket(ClearTicket(ticket), stored)


@pytest.mark.parametrize("salt_first", [False, True])
@pytest.mark.parametrize("kind", ALGORITHMS)
def test_a_wrapped_hash_matches_the_ticket_of_the_hash_in_it(kind: str, salt_first: bool) -> None:
    stored = hashed(kind, "ticket", b"salt", salt_first=salt_first)
    fast = fast_hash(with_prepended_salt(stored) if salt_first else stored)
    assert fast

    slow = Argon2Hash().wrap(fast)

    assert is_slow(slow)
    assert kind_of(slow) == f"ARGON2ID+{fast.kind}"
    assert fault_of_hash(slow) is None
    assert base64.b64encode(fast.digest).decode() not in slow
    assert Argon2Hash().matches(ClearTicket("ticket"), slow)
    assert not Argon2Hash().matches(ClearTicket("other"), slow)
    assert not verify_ticket(ClearTicket("ticket"), slow)


def test_a_wrapped_hash_differs_from_that_of_another_wrapping() -> None:
    fast = fast_hash(hashed("SSHA", "ticket", b"salt"))
    assert fast

    assert Argon2Hash().wrap(fast) != Argon2Hash().wrap(fast)


def test_a_foreign_password_hash_is_importable() -> None:
    assert fault_of_hash(PHC) is None
    assert with_prepended_salt(PHC) == PHC


@pytest.mark.parametrize(
    "unusable",
    [
        "",
        "ticket",
        "{MD5}AAAA",
        "{SSHA256}",
        "{SSHA256}%%%",
        "{SSHA256}é",
        "{SSHA256}" + base64.b64encode(bytes(31)).decode(),
        "{SSHA256}" + base64.b64encode(bytes(32)).decode(),
        "{SSHA256}" + base64.b64encode(bytes(32 + 1001)).decode(),
        "{SSHA256}" + "A" * 4000,
        "{ARGON2ID}nonsense",
        PHC.replace("argon2id", "argon2i"),
        PHC.replace("47104", "9999999"),
        PHC.replace("t=1", "t=11"),
        PHC.replace("p=1", "p=0"),
        PHC.replace("{ARGON2ID}", "{ARGON2ID+MD5}c2FsdA=="),
        PHC.replace("{ARGON2ID}", "{ARGON2ID+SSHA}%"),
        f"{PHC}\n",
    ],
)
def test_another_hash_is_not_importable(unusable: str) -> None:
    assert fault_of_hash(unusable)


def test_the_form_of_a_wrapped_hash_never_changes() -> None:
    fast = fast_hash("{SSHA}" + base64.b64encode(bytes(20) + b"salt").decode())
    assert fast

    assert wrapped(fast, "$argon2id$") == "{ARGON2ID+SSHA}c2FsdA==$argon2id$"
