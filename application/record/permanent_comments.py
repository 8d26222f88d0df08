"""The comments that cannot be erased: release 1.0 stored them in the event, whose bytes are hashed."""

from collections.abc import Iterator

from msgspec import UNSET

from application.record.history import LogItem, log_items, log_pages
from application.record.ledger import HistoryQuery, Ledger


def permanent_comments(client_ext_id: str, user_ext_id: str | None, *, ledger: Ledger) -> Iterator[LogItem]:
    """Yield the entries of a client, or of one user, with a comment in the stored event. Raises StoreUnavailable."""
    for page in log_pages(HistoryQuery(client_ext_id, user_ext_id=user_ext_id), ledger=ledger):
        events = zip(page, map(ledger.event, page), strict=True)
        found = [entry for entry, event in events if event.reason and event.details is UNSET]
        yield from log_items(found, ledger=ledger)
