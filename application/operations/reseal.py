"""Reseal the secrets that a previous key sealed, so that it can be removed."""

from collections.abc import Callable
from dataclasses import dataclass

from application.delivery.outbox import Outbox, OutboxEntry
from application.shared.errors import SealBroken
from application.shared.ports import Sealer
from application.subscriptions.records import Subscriptions, sealed_for
from domain.subscriptions.subscription import SubscriptionKey

_PAGE = 500


@dataclass
class ResealReport:
    """The numbers of resealed secrets; lost: of secrets whose key is missing."""

    tickets: int = 0
    subscriptions: int = 0
    lost_tickets: int = 0
    lost_subscriptions: int = 0


def reseal(
    *, outbox: Outbox, subscriptions: Subscriptions, sealer: Sealer, report_progress: Callable[[int], None]
) -> ResealReport:
    """Reseal every secret that the newest key did not seal; concurrently changed ones are skipped.

    report_progress: receives the number of checked secrets after each page. Raises StoreUnavailable.
    """
    report = ResealReport()
    checked = 0
    entry: OutboxEntry | None = None
    while page := outbox.outbox_page(entry.key if entry else None, _PAGE):
        for entry in page:
            sealed = _resealed(entry.sealed, entry.delivery_id, sealer)
            if sealed is None:
                report.lost_tickets += 1
            elif sealed != entry.sealed:
                outbox.reseal(entry, sealed)
                report.tickets += 1
        checked += len(page)
        report_progress(checked)
    key: SubscriptionKey | None = None
    while seals := subscriptions.subscription_seals(key, _PAGE):
        for key, former in seals:
            sealed = _resealed(former, sealed_for(key), sealer)
            if sealed is None:
                report.lost_subscriptions += 1
            elif sealed != former:
                subscriptions.reseal_subscription(key, former, sealed)
                report.subscriptions += 1
        checked += len(seals)
        report_progress(checked)
    return report


def _resealed(sealed: bytes, bound_to: str, sealer: Sealer) -> bytes | None:
    if sealer.is_new(sealed):
        return sealed
    try:
        return sealer.seal(sealer.unseal(sealed, bound_to), bound_to)
    except SealBroken:
        return None
