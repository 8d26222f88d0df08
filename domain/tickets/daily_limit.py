"""The limit on the tickets that are sent to a user per day, which bounds the mails of a caller that resets tickets.

A day is a UTC day: its count is one number of the credential, and its end is the same for every reader of a refusal. In any
24 hours, at most twice the limit is sent. The permission that lifts it is separate, since CredentialModify, which a reset
requires, is that of every help desk.
"""

from datetime import UTC, datetime, timedelta

from domain.policies.policy import OFF
from domain.shared.errors import Kind, Refusal


class DailyLimitReached(Refusal):
    """The tickets that the policy permits for a user and a day were sent."""

    CODE = "DailyLimitReached"
    KIND = Kind.LIMIT

    @property
    def retry_from(self) -> datetime:
        """The end of the limit, the last word of the message."""
        return datetime.fromisoformat(str(self).removesuffix(".").rpartition(" ")[2])


def check_daily_limit(sent: int, limit: int, now: datetime) -> None:
    """Raise DailyLimitReached if the limit (-1: none) permits no further ticket on the UTC day of `now`.

    sent: the tickets of that day.
    """
    if limit != OFF and sent >= limit:
        end = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        raise DailyLimitReached(
            f"The policy permits {limit} tickets per user and UTC day (maxDailyDeliveryCount). Ask a caller with"
            f" AccessControl.DeliveryOverride, or retry from {end.isoformat().removesuffix('+00:00')}Z."
        )
