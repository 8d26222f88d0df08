"""What an operator watches of the store."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.subscriptions.subscription import Status, SubscriptionKey


@dataclass(frozen=True)
class Figures:
    """How it stands.

    outbox: how many tickets are there, by standing; oldest_queued: when the oldest of those that wait was minted.
    lags: how many entries behind its client's ledger each subscription is that events shall get to: those that are
    enabled, pushed or polled, and those that were parked, which nobody wanted.
    unsigned_since: when the oldest entry was made that no checkpoint covers; None: there is none.
    subscriptions: how many there are, by status.
    """

    outbox: Mapping[str, int]
    oldest_queued: datetime | None
    lags: Mapping[SubscriptionKey, int]
    unsigned_since: datetime | None
    subscriptions: Mapping[Status, int]


class FiguresSource(Protocol):
    """A store that says how it stands. Every method raises StoreUnavailable."""

    def figures(self) -> Figures:
        """Return the figures."""

    def schema_version(self) -> int:
        """Return the number of the newest migration that the store has."""
