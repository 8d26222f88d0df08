"""Reads of a store for tests."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from application.tickets.records import TICKETS, ticket, ticket_of
from application.transaction.records import Load, LoadedState
from application.transaction.store import Store
from application.users.records import USERS, user
from domain.shared.event import Event
from domain.shared.subject import Subject
from domain.tickets.events import stream_id
from domain.tickets.state import TicketState
from domain.users.recipient import Recipient
from interface.composition.register import TABLES
from interface.outbound.sql.sqlite_store import SqliteStore


@contextmanager
def temporary_store() -> Iterator[SqliteStore]:
    """Yield a new, empty store."""
    with TemporaryDirectory(prefix="tickets-store-") as directory:
        store = SqliteStore(Path(directory) / "tickets.db", TABLES)
        try:
            yield store
        finally:
            store.close()


def states_of(store: Store, subjects: Sequence[Subject]) -> dict[Subject, TicketState]:
    """Return the stored states of these users' credentials, deleted ones too."""
    return dict(store.load([Load(TICKETS, subject) for subject in subjects]).all(TICKETS))


def state_of(store: Store, subject: Subject) -> TicketState:
    """Return the stored state of a user's credential. Raises KeyError."""
    return states_of(store, [subject])[subject]


def live_ticket(store: Store, subject: Subject) -> TicketState:
    """Return the ticket as a read finds it. Raises UserNotFound, TicketNotFound."""
    return ticket(store.load(ticket_of(subject)), subject)


def stored_user(store: Store, subject: Subject) -> Recipient:
    """Return a user. Raises UserNotFound."""
    return user(store.load([Load(USERS, subject)]), subject)


def loaded(store: Store, *loads: Load) -> LoadedState:
    """Return these rows."""
    return store.load(loads)


def history_of(store: Store, subject: Subject) -> Sequence[Event]:
    """Return every event of a user's credential, oldest first."""
    return store.events_of(stream_id(*subject))
