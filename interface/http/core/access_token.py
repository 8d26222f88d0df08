"""Reads access tokens strictly (RFC 7519, RFC 8725, RFC 9068); each fault of a token is an InvalidToken."""

import base64
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import jwt

from interface.http.core.problems import InvalidToken

# Asymmetric only: with a shared secret, every verifier could sign tokens.
ALGORITHMS = ["RS256", "ES256", "EdDSA"]
CLOCK_SKEW_SECONDS = 30
_JWS = jwt.PyJWS(algorithms=ALGORITHMS)
_TYPED = ("at+jwt", "application/at+jwt")
_UNTYPED = (None, "jwt")
# Claims of ID tokens, logout tokens and security events, which the same issuer may sign for the same audience.
_OF_OTHER_TOKENS = ("nonce", "at_hash", "c_hash", "s_hash", "events")
# Without padding (RFC 7515, section 2). PyJWT accepts padding, and older versions ignore other characters.
# An unsigned token has no signature.
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_MAX_SUBJECT_CHARACTERS = 255
# The end of year 9999. A larger time is in milliseconds, or an attempt to overflow.
_MAX_TIME = 253_402_300_799


class Key(Protocol):
    """A public key that verifies tokens."""

    @property
    def jwk(self) -> jwt.PyJWK:
        """The key, bound to its algorithm."""

    @property
    def thumbprint(self) -> str:
        """Its thumbprint (RFC 7638)."""


@dataclass(frozen=True)
class Header:
    """The parts of a token's header that determine its key. is_typed: the header states that it is an access token."""

    kid: str | None
    algorithm: str
    is_typed: bool


@dataclass(frozen=True)
class Claims:
    """The verified claims. expires: Unix time in seconds."""

    subject: str
    permissions: frozenset[str]
    clients: frozenset[str]
    expires: float


@contextmanager
def token_faults() -> Iterator[None]:
    """Raise InvalidToken for every fault of a token: callers send any bytes, and the parsers below raise any error."""
    try:
        yield
    except InvalidToken:
        raise
    except Exception:  # noqa: BLE001 - such as RecursionError, OverflowError, MemoryError
        raise _fault("malformed") from None


def read_header(token: str, *, typed_only: bool) -> Header:
    """Return the header of a token, before its verification. Raises InvalidToken.

    typed_only: refuse tokens without the type `at+jwt` (RFC 9068).
    """
    with token_faults():
        if not _COMPACT.fullmatch(token):
            raise _fault("malformed")
        header = _part(token, 0)
        kid, algorithm, kind = header.get("kid"), header.get("alg"), header.get("typ")
        if algorithm not in ALGORITHMS:
            raise _fault("algorithm")
        if kid is not None and not isinstance(kid, str):
            raise _fault("key")
        kind = kind.lower() if isinstance(kind, str) else kind
        if kind not in _TYPED and (typed_only or kind not in _UNTYPED):
            raise InvalidToken("The token's typ is not that of an access token.", "type")
        return Header(kid, algorithm, kind in _TYPED)


def read_issuer(token: str) -> object:
    """Return the issuer of a token, unverified. Raises InvalidToken."""
    with token_faults():
        return _part(token, 1).get("iss")


def read_claims(
    token: str,
    header: Header,
    keys: Iterable[Key],
    *,
    issuer: str,
    audience: str,
    now: Callable[[], float] = time.time,
) -> tuple[Claims, Key]:
    """Return the claims of a token and the key that verifies it. Raises InvalidToken."""
    with token_faults():
        payload, key = _verified(token, header, keys)
        claims = _object(payload)
        expires = _check_times(claims, now())
        if claims.get("iss") != issuer:
            raise _fault("issuer")
        if audience not in _texts(claims, "aud", "audience"):
            raise _fault("audience")
        if not header.is_typed and any(name in claims for name in _OF_OTHER_TOKENS):
            raise InvalidToken("The token is not an access token.", "type")
        found = Claims(
            _subject(claims.get("sub")), _names(claims, "permissions"), _names(claims, "clients"), expires
        )
        return found, key


def _verified(token: str, header: Header, keys: Iterable[Key]) -> tuple[bytes, Key]:
    for key in keys:
        try:
            decoded = _JWS.decode_complete(token, key.jwk, [header.algorithm])
        except jwt.InvalidSignatureError:
            continue
        payload: bytes = decoded["payload"]
        return payload, key
    raise _fault("signature")


def _check_times(claims: Mapping[str, Any], now: float) -> float:
    """Return the end of the token."""
    for claim in ("nbf", "iat"):
        if claim in claims and _time(claims, claim) > now + CLOCK_SKEW_SECONDS:
            raise _fault("claims")
    expires = _time(claims, "exp")
    if expires <= now - CLOCK_SKEW_SECONDS:
        raise InvalidToken("The token has expired. Get a new one.", "expired")
    return float(expires)


def _time(claims: Mapping[str, Any], claim: str) -> int | float:
    """Return a NumericDate, which may have a fraction (RFC 7519, section 2)."""
    found = claims.get(claim)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= _MAX_TIME:
        raise InvalidToken(f"The token's {claim} must be a number of seconds since 1970.")
    return found


def _subject(subject: object) -> str:
    if (
        not isinstance(subject, str)
        or not subject.isprintable()
        or not subject.strip()
        or len(subject) > _MAX_SUBJECT_CHARACTERS
    ):
        raise InvalidToken(
            f"The token's sub must be text of at most {_MAX_SUBJECT_CHARACTERS} printable characters."
        )
    return subject


def _names(claims: Mapping[str, Any], claim: str) -> frozenset[str]:
    names = claims.get(claim, [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise InvalidToken(f"The token's {claim} must be a list of names.")
    return frozenset(names)


def _texts(claims: Mapping[str, Any], claim: str, reason: str) -> list[str]:
    found = claims.get(claim)
    texts = [found] if isinstance(found, str) else found
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _fault(reason)
    return texts


def _part(token: str, number: int) -> dict[str, Any]:
    """Return the header or the claims, unverified. Only `read_header` refuses characters outside the alphabet."""
    part = token.split(".")[number]
    return _object(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def _object(content: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError, RecursionError."""
    found = json.loads(
        content.decode(),
        object_pairs_hook=_unique,
        parse_constant=int,  # int refuses NaN and Infinity, which JSON does not have
    )
    if not isinstance(found, dict):
        raise TypeError("not an object")
    json.dumps(found, ensure_ascii=False).encode()  # refuses lone surrogates
    return found


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("a name occurs twice")
    return found


def _fault(reason: str) -> InvalidToken:
    # Only the issuer needs the details.
    return InvalidToken("The token is not valid for this service.", reason)
