"""Ports used by every capability."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.shared.secret import Secret


class Clock(Protocol):
    """A source of the current time."""

    def __call__(self) -> datetime:
        """Return the current time, aware UTC."""


class Randomness(Protocol):
    """A cryptographic source of randomness."""

    def below(self, bound: int) -> int:
        """Return a uniformly random integer in [0, bound)."""

    def octets(self, count: int) -> bytes:
        """Return `count` random bytes."""

    def uuid(self) -> UUID:
        """Return a new random id."""


class Sealer(Protocol):
    """Encrypts secrets at rest: tickets that await delivery, and the targets of subscriptions."""

    def seal(self, secret: Secret, bound_to: str) -> bytes:
        """Encrypt the secret; `unseal` requires the same `bound_to`."""

    def unseal(self, sealed: bytes, bound_to: str) -> Secret:
        """Return the secret. Raises SealBroken."""

    def is_new(self, sealed: bytes) -> bool:
        """Return whether the newest key sealed it."""
