"""The clear ticket and its hash."""

import base64
import hashlib
import hmac
from collections.abc import Callable

from domain.policy import TicketPolicy

SALT_BYTES = 16
_SSHA256 = "{SSHA256}"


class ClearTicket:
    """The secret itself, on its way from minting to sealing or from a caller to verification.

    It prints as `***`: only `reveal` gives the characters, so a search for that word finds every use.
    """

    __slots__ = ("_characters",)

    def __init__(self, characters: str) -> None:
        self._characters = characters

    def reveal(self) -> str:
        """Return the characters of the ticket."""
        return self._characters

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a clear ticket is never pickled")


def mint(policy: TicketPolicy, random_below: Callable[[int], int]) -> ClearTicket:
    """Draw a new ticket by the policy.

    random_below: returns a uniformly random integer in [0, n) from a cryptographic source.
    """
    characters = policy.ticket_character_set
    return ClearTicket(
        "".join(characters[random_below(len(characters))] for _ in range(policy.ticket_length))
    )


def hash_ticket(ticket: ClearTicket, salt: bytes) -> str:
    """Return `{SSHA256}` + base64(SHA-256(ticket ‖ salt) ‖ salt), the form of contract.md."""
    return _SSHA256 + base64.b64encode(_salted_sha256(ticket, salt) + salt).decode("ascii")


def verify_ticket(ticket: ClearTicket, ticket_hash: str) -> bool:
    """Tell in constant time whether the ticket is the one behind the hash; False for a malformed hash."""
    if not ticket_hash.startswith(_SSHA256):
        return False
    try:
        stored = base64.b64decode(ticket_hash.removeprefix(_SSHA256), validate=True)
    except ValueError:
        return False
    digest, salt = stored[: hashlib.sha256().digest_size], stored[hashlib.sha256().digest_size :]
    return hmac.compare_digest(_salted_sha256(ticket, salt), digest)


def _salted_sha256(ticket: ClearTicket, salt: bytes) -> bytes:
    return hashlib.sha256(ticket.reveal().encode() + salt).digest()
