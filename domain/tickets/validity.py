"""From when until when a ticket may be used."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from domain.policies.policy import TicketPolicy
from domain.shared.errors import InvalidValidity


@dataclass(frozen=True)
class Validity:
    """From when until when a ticket may be used, both aware UTC.

    Raises InvalidValidity where the end is not after the start.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise InvalidValidity(f"The validity ends at {self.end:%Y-%m-%dT%H:%M:%SZ}, not after it begins.")

    @classmethod
    def by(cls, policy: TicketPolicy, start: datetime) -> Self:
        """Return the validity that the policy gives to a ticket minted at `start`."""
        try:
            return cls(start, start + policy.lifetime)
        except OverflowError:
            raise InvalidValidity("The validity ends beyond the year 9999.") from None
