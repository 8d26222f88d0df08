"""Monitoring figures of the store."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.record.installation import RecordChecked
from domain.subscriptions.subscription import Status, SubscriptionKey


@dataclass(frozen=True)
class Figures:
    """Monitoring figures.

    outbox: the number of tickets by status. oldest_queued: when the oldest queued ticket was minted.
    lags: the number of entries that each enabled or parked subscription is behind its client's ledger.
    unsigned_since: the time of the oldest entry that no checkpoint covers; None: all are covered.
    subscriptions: the number of subscriptions by status. checked: the newest check of the record.
    """

    outbox: Mapping[str, int]
    oldest_queued: datetime | None
    lags: Mapping[SubscriptionKey, int]
    unsigned_since: datetime | None
    subscriptions: Mapping[Status, int]
    checked: RecordChecked | None = None


class FiguresSource(Protocol):
    """A store that provides figures. Every method raises StoreUnavailable."""

    def figures(self) -> Figures:
        """Return the figures."""

    def schema_version(self) -> int:
        """Return the number of the newest applied migration."""
