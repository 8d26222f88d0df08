"""The limit on the tickets that are sent to a user per day, which bounds the mails of a caller that resets tickets.

A day is a UTC day: its count is one number of the credential, and its end is the same for every reader of a refusal. In any
24 hours, at most twice the limit is sent. A retry of a delivery does not count: a ticket that was sent is not sent again. The
permission that lifts the limit is separate, since a reset requires one that every help desk has.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from domain.policies.policy import OFF
from domain.shared.errors import Kind, Refusal


class DailyLimitReached(Refusal):
    """The tickets that the policy or the service permits for a user and a day were sent."""

    CODE = "DailyLimitReached"
    KIND = Kind.LIMIT

    @property
    def retry_from(self) -> datetime:
        """The end of the limit, the last word of the message: a refusal is built again from its code and message only."""
        return datetime.fromisoformat(str(self).removesuffix(".").rpartition(" ")[2])


class DailyCount(NamedTuple):
    """The number of tickets of a user on a UTC day."""

    day: date
    tickets: int

    @classmethod
    def at(cls, now: datetime, day: date | None, tickets: int) -> "DailyCount":
        """Return the count at a time. day, tickets: the stored count.

        A later stored day is kept: the clocks of two hosts differ, and a clock can be set back, but neither restarts the count.
        """
        today = now.astimezone(UTC).date()
        return cls(day, tickets) if day and day >= today else cls(today, 0)

    def with_next(self, limit: int) -> int:
        """Return the number of tickets including the next one. Raises DailyLimitReached. limit: -1: none."""
        if limit != OFF and self.tickets >= limit:
            end = datetime.combine(self.day, time()) + timedelta(days=1)
            raise DailyLimitReached(
                f"At most {limit} tickets are sent to a user per UTC day. Retry from {end.isoformat()}Z."
            )
        return self.tickets + 1
