"""Authentication: JWT bearer tokens (RFC 9068 in spirit), from a key set or from the service's own key."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
from cachetools import TLRUCache
from starlette.concurrency import run_in_threadpool

from interface.http.core.problems import (
    ClientDenied,
    InvalidToken,
    KeysUnavailable,
    PermissionDenied,
    Unauthenticated,
)

# Asymmetric only: with a shared secret, every verifier could sign tokens.
ALGORITHMS = ["RS256", "ES256", "EdDSA"]
ANY_CLIENT = "*"
CLOCK_SKEW_SECONDS = 30
_CACHED_TOKENS = 4096


@dataclass(frozen=True)
class Caller:
    """The caller and its rights: the claims `sub`, `permissions` and `clients`."""

    actor: str
    permissions: frozenset[str]
    clients: frozenset[str]

    def demand(self, client_ext_id: str, permissions: tuple[str, ...]) -> None:
        """Raise PermissionDenied or ClientDenied unless the caller has all permissions, for this client.

        Decided before any lookup, so the response never reveals whether a user exists.
        """
        missing = [permission for permission in permissions if permission not in self.permissions]
        if missing:
            raise PermissionDenied(f"The token lacks the permission {' and '.join(missing)}.")
        if ANY_CLIENT not in self.clients and client_ext_id not in self.clients:
            raise ClientDenied("The token does not allow this client.")


# The reasons of refused tokens in the metric, the first that applies.
_REASONS: dict[type[Exception], str] = {
    jwt.InvalidSignatureError: "signature",
    jwt.InvalidIssuerError: "issuer",
    jwt.InvalidAudienceError: "audience",
    jwt.InvalidAlgorithmError: "algorithm",
    jwt.PyJWKClientError: "key",
    StopIteration: "key",
    jwt.DecodeError: "malformed",
}
KeyFinder = Callable[[str], Any]
"""Finds the key that verifies a token. Raises jwt.PyJWTError if it is unknown, KeysUnavailable."""


def keys_from_set(key_set: jwt.PyJWKSet) -> KeyFinder:
    """Find keys in a set that was read once; a token without `kid` takes the only key."""

    def find(token: str) -> Any:
        kid = jwt.get_unverified_header(token).get("kid")
        if kid is None and len(key_set.keys) == 1:
            return key_set.keys[0]
        return next(key for key in key_set.keys if key.key_id == kid)

    return find


def keys_from_url(url: str, *, lifespan_seconds: int, cooldown_seconds: int) -> KeyFinder:
    """Find keys in a set behind a URL, cached; an unknown key id triggers a new fetch, at most one per cooldown."""
    client = jwt.PyJWKClient(url, lifespan=lifespan_seconds, timeout=5, cooldown_duration=cooldown_seconds)

    def find(token: str) -> Any:
        try:
            return client.get_signing_key_from_jwt(token)
        except jwt.PyJWKClientConnectionError as error:
            raise KeysUnavailable(str(error)) from error

    return find


class TokenVerifier:
    """Turns a bearer token into its Caller.

    A verified token is cached by its SHA-256 until it expires, for `trust_seconds` at most: a withdrawn key is accepted for
    that time, as with a cached key set. refused: called for each refused token with its issuer and the reason; the issuer
    is that of the service, `other`, or `none`, since callers could invent any number.
    """

    def __init__(
        self,
        find_key: KeyFinder,
        *,
        issuer: str,
        audience: str,
        trust_seconds: float,
        timer: Callable[[], float] = time.time,
        refused: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self._find_key = find_key
        self._issuer = issuer
        self._audience = audience
        self._refused = refused

        def known_until(_: bytes, known: tuple[Caller, float], now: float) -> float:
            return min(known[1], now + trust_seconds)

        self._known: TLRUCache[bytes, tuple[Caller, float]] = TLRUCache(_CACHED_TOKENS, known_until, timer)

    async def caller(self, authorization: list[str]) -> Caller:
        """Return the caller that sent these Authorization headers. Raises Unauthenticated, InvalidToken, Unavailable."""
        scheme, _, token = authorization[0].partition(" ") if len(authorization) == 1 else ("", "", "")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            self._refused("none", "missing")
            raise Unauthenticated("Send a token: Authorization: Bearer <JWT>.")
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is None:
            try:
                self._known[digest] = known = await run_in_threadpool(self._verify, token)
            except InvalidToken as error:
                self._refused(self._issuer_of(token), error.reason)
                raise
        return known[0]

    def _issuer_of(self, token: str) -> str:
        try:
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except (jwt.PyJWTError, ValueError, RecursionError):
            return "none"
        return self._issuer if issuer == self._issuer else "other"

    def _verify(self, token: str) -> tuple[Caller, float]:
        """Return the caller, and the time (Unix, seconds) from which the token is refused."""
        try:
            claims = jwt.decode(
                token,
                self._find_key(token),
                algorithms=ALGORITHMS,
                issuer=self._issuer,
                audience=self._audience,
                leeway=CLOCK_SKEW_SECONDS,
                options={"require": ["exp", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise InvalidToken("The token has expired. Get a new one.", "expired") from None
        except (jwt.PyJWTError, StopIteration, ValueError) as error:
            reason = next((reason for kind, reason in _REASONS.items() if isinstance(error, kind)), "claims")
            # Only the issuer needs the details.
            raise InvalidToken("The token is not valid for this service.", reason) from None
        caller = Caller(_text(claims["sub"]), _names(claims, "permissions"), _names(claims, "clients"))
        return caller, float(claims["exp"]) + CLOCK_SKEW_SECONDS


def _text(subject: object) -> str:
    if not isinstance(subject, str) or not subject or not subject.isprintable():
        raise InvalidToken("The token's sub must be printable text.")
    return subject


def _names(claims: dict[str, Any], claim: str) -> frozenset[str]:
    names = claims.get(claim, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidToken(f"The token's {claim} must be a list of names.")
    return frozenset(names)
