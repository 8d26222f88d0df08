"""The forms of stored hashes: those of this service, and those of imported tickets.

    {SSHA256}, {SSHA}      base64(digest ‖ salt); the digest is SHA-256 or SHA-1 of ticket ‖ salt
    {PSSHA256}, {PSSHA}    the same with the prepended salt: of salt ‖ ticket
    {ARGON2ID}             the PHC string of Argon2id over the ticket
    {ARGON2ID+SSHA} …      base64(salt), and the PHC string of Argon2id over the digest of that fast hash

An imported salt has any length from 1 to 1000 bytes. The last form wraps a fast hash that the policy does not permit.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

ARGON2ID = "{ARGON2ID}"
MAX_HASH_LENGTH = 2_000
_MAX_SALT = 1_000
_WRAPPED = "{ARGON2ID+"
_PREPENDED = "P"
_KIND = re.compile(r"\{([A-Z0-9+]+)\}", re.ASCII)
_PHC = re.compile(
    r"\$argon2id\$v=19\$m=(?P<m>\d{1,7}),t=(?P<t>\d{1,2}),p=(?P<p>\d{1,2})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,86}",
    re.ASCII,
)
# A verification of a foreign hash costs at most 256 MiB and 10 passes.
_MOST = {"m": 256 * 1024, "t": 10, "p": 16}


class _Digest(NamedTuple):
    algorithm: Callable[[bytes], Any]
    size: int
    salt_first: bool


_FAST = {
    "SSHA256": _Digest(hashlib.sha256, 32, salt_first=False),
    "SSHA": _Digest(hashlib.sha1, 20, salt_first=False),
    "PSSHA256": _Digest(hashlib.sha256, 32, salt_first=True),
    "PSSHA": _Digest(hashlib.sha1, 20, salt_first=True),
}
_PREFIXES = {f"{{{kind}}}": kind for kind in _FAST}
_SHA_1 = ("SSHA", "PSSHA")


class FastHash(NamedTuple):
    """A fast hash by its parts. kind: one of `{kind}` above."""

    kind: str
    digest: bytes
    salt: bytes

    def digest_of(self, ticket: str) -> bytes:
        """Return the digest of a ticket with this salt."""
        return _digest_of(self.kind, self.salt, ticket)


def kind_of(ticket_hash: str) -> str:
    """Return the kind of a hash, such as `SSHA256`; empty: it has none."""
    found = _KIND.match(ticket_hash)
    return found[1] if found else ""


def is_slow(ticket_hash: str) -> bool:
    """Return whether the hash is a password hash, which is slow and needs much memory."""
    return ticket_hash.startswith((ARGON2ID, _WRAPPED))


def is_sha_1(ticket_hash: str) -> bool:
    """Return whether the hash is a fast one by SHA-1, which this service never makes."""
    return kind_of(ticket_hash) in _SHA_1


def fast_hash(ticket_hash: str) -> FastHash | None:
    """Return the parts of a fast hash; None: it is malformed, or of another kind."""
    end = ticket_hash.find("}") + 1
    kind = _PREFIXES.get(ticket_hash[:end])
    if kind is None:
        return None
    stored, size = _decoded(ticket_hash[end:]), _FAST[kind].size
    if stored is None or len(stored) < size:
        return None
    return FastHash(kind, stored[:size], stored[size:])


def with_prepended_salt(ticket_hash: str) -> str:
    """Return the stored form of a fast hash whose salt stands before the ticket; another hash is unchanged."""
    kind = kind_of(ticket_hash)
    if f"{_PREPENDED}{kind}" not in _FAST:
        return ticket_hash
    return f"{{{_PREPENDED}{kind}}}{ticket_hash[len(kind) + 2 :]}"


def wrapped(fast: FastHash, phc: str) -> str:
    """Return the stored form of Argon2id over the digest of a fast hash."""
    return f"{_WRAPPED}{fast.kind}}}{base64.b64encode(fast.salt).decode()}{phc}"


def slow_parts(ticket: str, ticket_hash: str) -> tuple[bytes, str]:
    """Return the bytes that Argon2id has hashed if the ticket is right, and the PHC string (of a malformed hash: no such string)."""
    if ticket_hash.startswith(ARGON2ID):
        return ticket.encode(), ticket_hash.removeprefix(ARGON2ID)
    kind, _, rest = ticket_hash.removeprefix(_WRAPPED).partition("}")
    encoded, sign, phc = rest.partition("$")
    salt = _decoded(encoded)
    if kind not in _FAST or salt is None:
        return b"", ""
    return _digest_of(kind, salt, ticket), sign + phc


def fault_of_hash(ticket_hash: str) -> str | None:
    """Return the reason why a hash cannot be imported; None: it can."""
    if len(ticket_hash) > MAX_HASH_LENGTH:
        return f"has over {MAX_HASH_LENGTH} characters"
    if is_slow(ticket_hash):
        _, phc = slow_parts("", ticket_hash)
        found = _PHC.fullmatch(phc)
        if not found or any(not 1 <= int(found[name]) <= most for name, most in _MOST.items()):
            return "is not a PHC string of Argon2id with at most 256 MiB, 10 passes and 16 lanes"
        return None
    if kind_of(ticket_hash) not in _FAST:
        return f"must begin with one of {', '.join(_PREFIXES)}, {ARGON2ID}"
    fast = fast_hash(ticket_hash)
    if fast is None or not 1 <= len(fast.salt) <= _MAX_SALT:
        return "is not base64 of a digest and a salt of 1 to 1000 bytes"
    return None


def _digest_of(kind: str, salt: bytes, ticket: str) -> bytes:
    form, secret = _FAST[kind], ticket.encode()
    digest: bytes = form.algorithm(salt + secret if form.salt_first else secret + salt).digest()
    return digest


def _decoded(encoded: str) -> bytes | None:
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError:
        return None
