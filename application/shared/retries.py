"""The retry schedule."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Retries:
    """Exponential back-off with a limit and jitter. jitter: returns a number in [0, 1)."""

    first: timedelta
    longest: timedelta
    give_up_after: timedelta
    jitter: Callable[[], float]

    @classmethod
    def of(
        cls, first_seconds: float, longest_seconds: float, give_up_hours: float, jitter: Callable[[], float]
    ) -> "Retries":
        """Return the schedule of these settings."""
        return cls(
            first=timedelta(seconds=first_seconds),
            longest=timedelta(seconds=longest_seconds),
            give_up_after=timedelta(hours=give_up_hours),
            jitter=jitter,
        )

    def delay(self, failures: int) -> timedelta:
        """Return the delay after a number of failures: it doubles each time, ±25 %."""
        # Computed in seconds: the power exceeds the range of a timedelta.
        doubled = min(self.longest.total_seconds(), self.first.total_seconds() * 2.0 ** min(failures - 1, 64))
        return timedelta(seconds=doubled * (0.75 + self.jitter() / 2))
