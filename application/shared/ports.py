"""What every capability needs of the world. Adapters name their mechanism; these name the need."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.shared.secret import Secret


class Clock(Protocol):
    """The time now, aware UTC."""

    def __call__(self) -> datetime:
        """Return it."""


class Randomness(Protocol):
    """A cryptographic source; tests inject their own."""

    def below(self, bound: int) -> int:
        """Return a uniformly random integer in [0, bound)."""

    def octets(self, count: int) -> bytes:
        """Return that many random bytes."""

    def uuid(self) -> UUID:
        """Return a new random id."""


class Sealer(Protocol):
    """Encrypts secrets for the store: a ticket between its commit and its delivery, the target of a subscription."""

    def seal(self, secret: Secret, bound_to: str) -> bytes:
        """Encrypt the secret; it opens only together with the same `bound_to`."""

    def unseal(self, sealed: bytes, bound_to: str) -> Secret:
        """Return the secret. Raises SealBroken."""

    def is_new(self, sealed: bytes) -> bool:
        """Return whether the newest key sealed it."""
