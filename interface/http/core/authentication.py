"""Authentication: JWT bearer tokens (RFC 9068 in spirit), from a key set or from the service's own key."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from cachetools import LRUCache
from starlette.concurrency import run_in_threadpool

from domain.shared.identifiers import ANY_CLIENT
from interface.http.core.access_token import (
    CLOCK_SKEW_SECONDS,
    Header,
    Key,
    read_claims,
    read_header,
    read_issuer,
)
from interface.http.core.problems import ClientDenied, InvalidToken, PermissionDenied, Unauthenticated

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


class Keys(Protocol):
    """The keys that verify tokens."""

    async def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        """Return the keys that may have signed such a token, or none. Raises KeysUnavailable."""

    def holds(self, thumbprint: str) -> bool:
        """Return whether a key is still accepted."""


@dataclass(frozen=True)
class _Known:
    """A verified token. thumbprint: of its key; until: Unix time in seconds from which the token is refused."""

    caller: Caller
    thumbprint: str
    until: float


class TokenVerifier:
    """Turns a bearer token into its Caller.

    A verified token is cached by its SHA-256 until it expires, and is refused once its key is withdrawn. Concurrent requests
    with a new token share one verification, since a caller opens many connections with it. typed_only: refuse
    tokens without the type `at+jwt`. refused: called for each refused token with its issuer and the reason; the issuer
    is that of the service, `other`, or `none`, since callers could invent any number.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        issuer: str,
        audience: str,
        typed_only: bool = False,
        timer: Callable[[], float] = time.time,
        refused: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._typed_only = typed_only
        self._timer = timer
        self._refused = refused

        self._known: LRUCache[bytes, _Known] = LRUCache(_CACHED_TOKENS)
        self._running: dict[bytes, asyncio.Task[_Known]] = {}

    async def caller(self, authorization: list[str]) -> Caller:
        """Return the caller that sent these Authorization headers. Raises Unauthenticated, InvalidToken, Unavailable."""
        scheme, _, token = authorization[0].partition(" ") if len(authorization) == 1 else ("", "", "")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            self._refused("none", "missing")
            raise Unauthenticated("Send a token: Authorization: Bearer <JWT>.")
        digest = hashlib.sha256(token.encode(errors="replace")).digest()
        known = self._known.get(digest)
        if known is None or known.until <= self._timer() or not self._keys.holds(known.thumbprint):
            try:
                known = await self._verified_once(digest, token)
            except InvalidToken as error:
                self._refused(self._issuer_of(token), error.reason)
                raise
        return known.caller

    def _issuer_of(self, token: str) -> str:
        try:
            issuer = read_issuer(token)
        except InvalidToken:
            return "none"
        return self._issuer if issuer == self._issuer else "other"

    async def _verified_once(self, digest: bytes, token: str) -> _Known:
        """Verify a token, or wait for its running verification, which a disconnected caller does not end."""
        if (running := self._running.get(digest)) is None:
            running = self._running[digest] = asyncio.create_task(self._verified(token))
            running.add_done_callback(partial(self._end, digest))
        return await asyncio.shield(running)

    def _end(self, digest: bytes, running: asyncio.Task[_Known]) -> None:
        del self._running[digest]
        # An error is raised to those that wait, if there are any, and is not cached.
        if not running.cancelled() and running.exception() is None:
            self._known[digest] = running.result()

    async def _verified(self, token: str) -> _Known:
        header = read_header(token, typed_only=self._typed_only)
        keys = await self._keys.find(header.kid, header.algorithm)
        if not keys:
            raise InvalidToken("The token is not valid for this service.", "key")
        return await run_in_threadpool(self._verify, token, header, keys)

    def _verify(self, token: str, header: Header, keys: Sequence[Key]) -> _Known:
        claims, key = read_claims(
            token, header, keys, issuer=self._issuer, audience=self._audience, now=self._timer
        )
        caller = Caller(claims.subject, claims.permissions, claims.clients)
        return _Known(caller, key.thumbprint, claims.expires + CLOCK_SKEW_SECONDS)
