"""The clear ticket and its hash."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from functools import lru_cache

from domain.policies.policy import HashAlgorithm, TicketPolicy
from domain.shared.secret import Secret
from domain.tickets.stored_hash import fast_hash, is_sha_1, is_slow

SALT_BYTES = 16
_SSHA256 = "{SSHA256}"
# Compared with the presented ticket if there is no credential, so that the response time is the same.
DECOY = _SSHA256 + "A" * 64


class ClearTicket(Secret):
    """The clear text of a ticket, between minting and sealing or between the request and the verification."""

    __slots__ = ()


def mint(policy: TicketPolicy, octets: Callable[[int], bytes]) -> ClearTicket:
    """Mint a ticket, uniformly at random among all tickets that the policy allows.

    octets: returns that many random bytes from a cryptographic source. One call is usually enough.
    """
    table, unused = _drawing(policy.ticket_character_set)
    drawn = b""
    while len(drawn) < policy.ticket_length:
        drawn += octets(2 * policy.ticket_length).translate(table, unused)
    return ClearTicket(drawn[: policy.ticket_length].decode("ascii"))


@lru_cache(maxsize=128)
def _drawing(characters: str) -> tuple[bytes, bytes]:
    """Return the character of each octet, and the octets to drop, so that equally many octets stand for each character."""
    used = 256 // len(characters) * len(characters)
    table = bytes(ord(characters[octet % len(characters)]) for octet in range(256))
    return table, bytes(range(used, 256))


def hash_ticket(ticket: ClearTicket, salt: bytes) -> str:
    """Return `{SSHA256}` + base64(SHA-256(ticket ‖ salt) ‖ salt) (docs/http-contract.md)."""
    return _SSHA256 + base64.b64encode(_salted_sha256(ticket, salt) + salt).decode("ascii")


def verify_ticket(ticket: ClearTicket, ticket_hash: str) -> bool:
    """Return, in constant time, whether the ticket matches the fast hash; False for a malformed hash."""
    fast = fast_hash(ticket_hash)
    return fast is not None and hmac.compare_digest(fast.digest_of(ticket.reveal()), fast.digest)


def is_weaker(ticket_hash: str, policy: TicketPolicy) -> bool:
    """Return whether the policy requires a stronger hash."""
    if is_slow(ticket_hash):
        return False
    return policy.hash_algorithm is HashAlgorithm.ARGON2ID or is_sha_1(ticket_hash)


def _salted_sha256(ticket: ClearTicket, salt: bytes) -> bytes:
    return hashlib.sha256(ticket.reveal().encode() + salt).digest()
