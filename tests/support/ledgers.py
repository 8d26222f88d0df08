"""Reads and fills a store's ledgers without a server."""

from collections.abc import Iterator
from contextlib import contextmanager

from application.feed.feed import FeedQuery, read_feed
from application.feed.formats import CLOUD_EVENTS
from domain.record.installation import INSTALLATION
from domain.shared.subject import Subject
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from interface.settings import Settings
from tests.support.evidence import open_store
from tests.support.service import service_over

ALL = 1_000_000
PUBLIC_URL = Settings.model_fields["public_url"].default


@contextmanager
def opened(database_url: str) -> Iterator[SqliteStore | PostgresStore]:
    """Yield a store that is closed at the end."""
    store = open_store(database_url)
    try:
        yield store
    finally:
        store.close()


def given_ticket(database_url: str, client: str, user: str = "user-0") -> None:
    """Register a user and create the ticket: two events."""
    with opened(database_url) as store, service_over(store) as service:
        service.register(subject=Subject(client, user))
        service.create(subject=Subject(client, user))


def reset(database_url: str, client: str, count: int = 1, user: str = "user-0") -> None:
    """Reset the ticket of a user: an event each."""
    with opened(database_url) as store, service_over(store) as service:
        for _ in range(count):
            service.regenerate(subject=Subject(client, user))


def ledgers(database_url: str) -> dict[str, list[bytes]]:
    """Return the feed of every client, as the JSON of its events."""
    with opened(database_url) as store:
        return {
            client: [
                CLOUD_EVENTS.encode_event(event, event.position - 1)
                for event in read_feed(
                    FeedQuery(client), ALL, ledger=store, origin="tickets", public_url=PUBLIC_URL
                )
            ]
            for client, _ in store.sizes()
        }


def size(database_url: str) -> int:
    """Return the number of events of clients."""
    with opened(database_url) as store:
        return sum(size for client, size in store.sizes() if client != INSTALLATION.client_ext_id)
