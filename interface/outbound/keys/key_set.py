"""The key sets that verify tokens (RFC 7517): the same rules for a file, a URL and the service's own keys."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

# By the type of the key: its algorithm, its curve, and the members of its thumbprint (RFC 7638).
_KINDS: dict[str, tuple[str, str | None, tuple[str, ...]]] = {
    "RSA": ("RS256", None, ("e", "kty", "n")),
    "EC": ("ES256", "P-256", ("crv", "kty", "x", "y")),
    "OKP": ("EdDSA", "Ed25519", ("crv", "kty", "x")),
}
# NIST SP 800-131A; OpenSSL verifies no signature of a longer key.
_RSA_BITS = range(2048, 16384 + 1)
_MAX_SHOWN_KID = 100
_ED25519_PRIME = 2**255 - 19
# The y coordinates of the eight points of small order. Signatures that such a key verifies can be forged.
_ORDER_8 = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER = {0, 1, _ED25519_PRIME - 1, _ORDER_8, _ED25519_PRIME - _ORDER_8}


@dataclass(frozen=True)
class VerificationKey:
    """A public key that verifies tokens. kid: None: the set has none for it (it is optional); thumbprint: RFC 7638."""

    kid: str | None
    thumbprint: str
    jwk: jwt.PyJWK


@dataclass(frozen=True)
class KeySet:
    """The accepted keys of a set, and a message for each refused one."""

    keys: tuple[VerificationKey, ...] = ()
    refused: tuple[str, ...] = ()

    def candidates(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """Return the keys that may have signed a token: those with its `kid`, or else those without one."""
        return self.named(kid, algorithm) or [key for key in self.named(None, algorithm) if key.kid is None]

    def named(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """Return the keys of an algorithm with this `kid`; None: all of them."""
        return [key for key in self.keys if key.jwk.algorithm_name == algorithm and kid in (None, key.kid)]

    async def find(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """Return the keys that may have signed a token."""
        return self.candidates(kid, algorithm)

    def holds(self, thumbprint: str) -> bool:
        """Return whether the set has the key."""
        return thumbprint in self._thumbprints

    @cached_property
    def _thumbprints(self) -> frozenset[str]:
        return frozenset(key.thumbprint for key in self.keys)


def read_key_set(content: str | bytes) -> KeySet:
    """Return the keys of a set; a key that is refused does not affect the others. Raises ValueError if it is no key set."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    members = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(members, list):
        raise ValueError("it is not a key set: it has no list of keys (RFC 7517)")  # noqa: TRY004
    keys, refused = [], []
    for member in members:
        try:
            keys.append(_key(member))
        except ValueError as error:
            refused.append(f"{_name(member)} is refused: {error}")
    return KeySet(tuple(keys), tuple(refused))


def key_fault(key: object) -> str | None:
    """Return the reason why a public key must not verify anything, or None."""
    if isinstance(key, RSAPublicKey) and key.key_size not in _RSA_BITS:
        return f"it has {key.key_size} bits; RSA keys need {_RSA_BITS[0]} to {_RSA_BITS[-1]}"
    if isinstance(key, Ed25519PublicKey):
        y = int.from_bytes(key.public_bytes_raw(), "little") % 2**255
        if y >= _ED25519_PRIME or y in _SMALL_ORDER:
            return "it is a point of small order, whose signatures can be forged"
    return None


def thumbprint(public: Mapping[str, Any]) -> str:
    """Return the thumbprint of a public key (RFC 7638)."""
    found = {name: public.get(name) for name in _KINDS[public["kty"]][2]}
    members = {name: value for name, value in found.items() if isinstance(value, str)}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
    return base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).decode().rstrip("=")


def _key(member: object) -> VerificationKey:
    """Return the key. Raises ValueError with the rule that it breaks."""
    if not isinstance(member, dict) or str(member.get("kty")) not in _KINDS:
        raise ValueError(f"its kty must be one of {', '.join(_KINDS)}")
    algorithm, curve, _ = _KINDS[member["kty"]]
    kid, operations = member.get("kid"), member.get("key_ops", ["verify"])
    if "d" in member:
        raise ValueError("it is a private key; a key set contains public keys only")
    if kid is not None and not isinstance(kid, str):
        raise ValueError("its kid must be text")
    if member.get("use", "sig") != "sig":
        raise ValueError("its use must be sig")
    if not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("its key_ops must contain verify")
    if member.get("alg", algorithm) != algorithm:
        raise ValueError(f"its alg must be {algorithm}, the accepted one for kty {member['kty']}")
    if curve and member.get("crv") != curve:
        raise ValueError(f"its crv must be {curve}, the curve of {algorithm}")
    try:
        jwk = jwt.PyJWK(member, algorithm)
    except Exception:  # noqa: BLE001 - the parsers of keys raise any error; the message may have key material
        raise ValueError("its parameters are malformed") from None
    if fault := key_fault(jwk.key):
        raise ValueError(fault)
    return VerificationKey(kid, thumbprint(member), jwk)


def _name(member: object) -> str:
    """Return the name of a key for the log: never more of it than its `kid` and its thumbprint."""
    if not isinstance(member, dict):
        return "a key that is not an object"
    kid = member.get("kid")
    name = f"key {kid[:_MAX_SHOWN_KID]!a}" if isinstance(kid, str) else "a key without kid"
    return f"{name} (thumbprint {thumbprint(member)})" if str(member.get("kty")) in _KINDS else name
