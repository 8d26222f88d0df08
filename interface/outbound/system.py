"""The machine's clock and randomness."""

import random
import secrets
import uuid
from datetime import UTC, datetime

jitter = random.SystemRandom().random


def system_clock() -> datetime:
    """Return the time now, aware UTC."""
    return datetime.now(UTC)


class SystemRandomness:
    """The operating system's cryptographic source."""

    def below(self, bound: int) -> int:
        """Return a uniformly random integer in [0, bound)."""
        return secrets.randbelow(bound)

    def octets(self, count: int) -> bytes:
        """Return that many random bytes."""
        return secrets.token_bytes(count)

    def uuid(self) -> uuid.UUID:
        """Return a random UUID (version 4)."""
        return uuid.uuid4()
