"""The validity period of a ticket."""

from datetime import datetime
from typing import Self

from msgspec import Struct

from domain.policies.policy import TicketPolicy
from domain.shared.errors import Kind, Refusal


class InvalidValidity(Refusal):
    """A validity period that does not end after its start, or ends after the year 9999."""

    CODE = "ValidityImpossible"
    KIND = Kind.INVALID


class Validity(Struct, frozen=True, gc=False):
    """A validity period, both ends aware UTC. Raises InvalidValidity if the end is not after the start."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end <= self.start:
            end = self.end.replace(tzinfo=None).isoformat(timespec="seconds")
            raise InvalidValidity(f"The validity ends at {end}Z, not after its start.")

    @classmethod
    def by(cls, policy: TicketPolicy, start: datetime) -> Self:
        """Return the validity of a ticket minted at `start` under the policy."""
        try:
            return cls(start, start + policy.lifetime)
        except OverflowError:
            raise InvalidValidity("The validity ends after the year 9999.") from None
