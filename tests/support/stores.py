"""Reads of a store for tests, and rows as release 1.0 wrote them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from application.record.installation import Installation
from application.tickets.records import TICKETS, ticket, ticket_of
from application.transaction.records import Load, LoadedState
from application.transaction.store import Store
from application.users.records import USERS, user
from domain.shared.attribution import Attribution
from domain.shared.event import Event
from domain.shared.subject import Subject
from domain.tickets.events import stream_id
from domain.tickets.state import TicketState
from domain.users.recipient import Recipient
from interface.composition.register import TABLES
from interface.outbound.sql.codec import encode
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.fakes import TRACEPARENT
from tests.support.service import AnyStore


def begin_era(store: AnyStore, name: str, now: datetime) -> None:
    """Record that the store was restored."""
    Installation(store, lambda: maintenance_at(now)).begin_era(name)


def maintenance_at(now: datetime) -> Attribution:
    """Return the attribution of maintenance by an operator."""
    return Attribution(
        timestamp=now,
        actor="os:alice",
        reason=None,
        correlation_id=TRACEPARENT,
        command_id="",
        request_digest="",
    )


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


def as_release_1_0_wrote(store: AnyStore, subject: Subject, **changes: Any) -> None:
    """Store the row as a process of release 1.0 does, which drops the fields that it does not know."""
    row = vars(stored_user(store, subject)) | changes
    known = {name: value for name, value in row.items() if name not in ("salt", "address_version")}
    store._run(
        "UPDATE recipients SET row = ?, version = ? WHERE client_ext_id = ? AND user_ext_id = ?",
        [(encode(known), known["version"], *subject)],
    )


def loaded(store: Store, *loads: Load) -> LoadedState:
    """Return these rows."""
    return store.load(loads)


def history_of(store: Store, subject: Subject) -> Sequence[Event]:
    """Return every event of a user's credential, oldest first."""
    return store.events_of(stream_id(*subject))
