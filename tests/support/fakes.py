"""Fakes for ports, and sample data; tests/contracts verifies the fakes."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from application.shared.errors import SealBroken
from domain.shared.attribution import Attribution
from domain.shared.secret import Secret
from domain.shared.subject import Subject
from domain.tickets.stored_hash import FastHash, is_slow, slow_parts, wrapped
from domain.tickets.ticket import ClearTicket

NOW = datetime(2026, 11, 23, 9, 42, tzinfo=UTC)
SUBJECT = Subject("client-123", "user-123")
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass
class FakeClock:
    """A clock that only moves when a test moves it."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


@dataclass
class FakeRandomness:
    """A counter: values are unique and reproducible."""

    drawn: int = 0

    def _next(self) -> bytes:
        self.drawn += 1
        return hashlib.sha256(str(self.drawn).encode()).digest()

    def below(self, bound: int) -> int:
        return int.from_bytes(self._next(), "big") % bound

    def octets(self, count: int) -> bytes:
        return (self._next() * (count // 32 + 1))[:count]

    def uuid(self) -> UUID:
        return UUID(bytes=self._next()[:16], version=4)


class FakeSealer:
    """Keeps the tickets in memory; the sealed form is a number."""

    def __init__(self) -> None:
        self.sealed: list[tuple[str, Any]] = []
        self.oldest_new = 0

    def seal(self, secret: Secret, bound_to: str) -> bytes:
        self.sealed.append((bound_to, secret))
        return b"seal %d" % (len(self.sealed) - 1)

    def is_new(self, sealed: bytes) -> bool:
        return int(sealed.removeprefix(b"seal ")) >= self.oldest_new

    def unseal(self, sealed: bytes, bound_to: str) -> Secret:
        try:
            bound, secret = self.sealed[int(sealed.removeprefix(b"seal "))]
        except (ValueError, IndexError):
            raise SealBroken("not a seal") from None
        if bound != bound_to:
            raise SealBroken("moved")
        return Secret(secret.reveal())


class FakeSlowHash:
    """A fast hash that distinguishes right from wrong tickets."""

    def hash(self, ticket: ClearTicket) -> str:
        return "{ARGON2ID}" + hashlib.sha256(ticket.reveal().encode()).hexdigest()

    def wrap(self, fast: FastHash) -> str:
        return wrapped(fast, "$" + hashlib.sha256(fast.digest).hexdigest())

    def matches(self, ticket: ClearTicket, ticket_hash: str | None) -> bool:
        if ticket_hash is None or not is_slow(ticket_hash):
            return False
        secret, phc = slow_parts(ticket.reveal(), ticket_hash)
        return hashlib.sha256(secret).hexdigest() == phc.removeprefix("$")


def attribution(**changes: object) -> Attribution:
    """Return a sample caller and reason with these changes."""
    fields: dict[str, object] = {
        "timestamp": NOW,
        "actor": "helpdesk",
        "reason": None,
        "correlation_id": TRACEPARENT,
        "command_id": "c" * 32,
        "request_digest": "d" * 64,
    }
    return Attribution(**{**fields, **changes})  # type: ignore[arg-type]
