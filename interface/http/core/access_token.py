"""Reads access tokens; each fault of a token is an InvalidToken."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jwt

from interface.http.core.problems import InvalidToken

# Asymmetric only: with a shared secret, every verifier could sign tokens.
ALGORITHMS = ["RS256", "ES256", "EdDSA"]
CLOCK_SKEW_SECONDS = 30
# The reasons of refused tokens in the metric, the first that applies.
_REASONS: dict[type[Exception], str] = {
    jwt.InvalidSignatureError: "signature",
    jwt.InvalidIssuerError: "issuer",
    jwt.InvalidAudienceError: "audience",
    jwt.InvalidAlgorithmError: "algorithm",
    jwt.DecodeError: "malformed",
}


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
    """The parts of a token's header that determine its key."""

    kid: str | None
    algorithm: str


@dataclass(frozen=True)
class Claims:
    """The verified claims. expires: Unix time in seconds."""

    subject: str
    permissions: frozenset[str]
    clients: frozenset[str]
    expires: float


def read_header(token: str) -> Header:
    """Return the header of a token, before its verification. Raises InvalidToken."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError) as error:
        raise _fault(error) from None
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise _fault(jwt.InvalidAlgorithmError())
    return Header(header.get("kid"), algorithm)


def read_issuer(token: str) -> object:
    """Return the issuer of a token, unverified. Raises InvalidToken."""
    try:
        return jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.PyJWTError, ValueError) as error:
        raise _fault(error) from None


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
    for key in keys:
        try:
            claims = jwt.decode(
                token,
                key.jwk,
                algorithms=[header.algorithm],
                issuer=issuer,
                audience=audience,
                leeway=CLOCK_SKEW_SECONDS,
                options={"require": ["exp", "sub"]},
            )
            expires = float(claims["exp"])
        except jwt.InvalidSignatureError:
            continue
        except jwt.ExpiredSignatureError:
            raise InvalidToken("The token has expired. Get a new one.", "expired") from None
        except (jwt.PyJWTError, ValueError) as error:
            raise _fault(error) from None
        if expires <= now() - CLOCK_SKEW_SECONDS:
            raise InvalidToken("The token has expired. Get a new one.", "expired")
        found = Claims(
            _subject(claims["sub"]), _names(claims, "permissions"), _names(claims, "clients"), expires
        )
        return found, key
    raise _fault(jwt.InvalidSignatureError())


def _subject(subject: object) -> str:
    if not isinstance(subject, str) or not subject or not subject.isprintable():
        raise InvalidToken("The token's sub must be printable text.")
    return subject


def _names(claims: Mapping[str, Any], claim: str) -> frozenset[str]:
    names = claims.get(claim, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidToken(f"The token's {claim} must be a list of names.")
    return frozenset(names)


def _fault(error: Exception) -> InvalidToken:
    reason = next((reason for kind, reason in _REASONS.items() if isinstance(error, kind)), "claims")
    # Only the issuer needs the details.
    return InvalidToken("The token is not valid for this service.", reason)
