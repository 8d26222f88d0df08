"""When what failed is tried again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Retries:
    """When something that failed is tried again, and for how long. jitter: returns from 0 up to 1."""

    first: timedelta
    longest: timedelta
    give_up_after: timedelta
    jitter: Callable[[], float]

    def delay(self, failures: int) -> timedelta:
        """Return how long to wait after so many tries: twice as long each time, a quarter more or less."""
        # Not from the power itself, which would be too long for a timedelta.
        doubled = min(self.longest.total_seconds(), self.first.total_seconds() * 2.0 ** min(failures - 1, 64))
        return timedelta(seconds=doubled * (0.75 + self.jitter() / 2))
