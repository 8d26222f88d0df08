"""What an operator watches of the store."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from application.subscription_row import SubscriptionKey


@dataclass(frozen=True)
class Figures:
    """How it stands.

    outbox: how many tickets are there, by standing; oldest_queued: when the oldest of those that wait was minted.
    lags: how many entries behind its client's ledger each subscription that is pushed is.
    unsigned_since: when the oldest entry was made that no checkpoint covers; None: there is none.
    """

    outbox: Mapping[str, int]
    oldest_queued: datetime | None
    lags: Mapping[SubscriptionKey, int]
    unsigned_since: datetime | None


class Watched(Protocol):
    """A store that says how it stands. Every method raises StoreUnavailable."""

    def figures(self) -> Figures:
        """Return the figures."""

    def schema_version(self) -> int:
        """Return the number of the newest migration that the store has."""
