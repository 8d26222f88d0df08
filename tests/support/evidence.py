"""The state after a crash, read from the store and the mail directory, and checked for consistency."""

import email
import email.policy
import re
import stat
from pathlib import Path

from application.delivery.deliveries import TOPICS
from application.delivery.outbox import OutboxEntry, delivery_id
from domain.delivery.ticket_delivery import DeliveryEvent, TicketDeliveryEnded
from domain.shared.subject import Subject
from domain.tickets.events import TicketRegenerated, stream_id
from domain.tickets.evolution import fold
from domain.tickets.state import TicketState
from domain.tickets.ticket import ClearTicket, verify_ticket
from interface.composition.service import open_at
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.stores import history_of, states_of


def open_store(database_url: str) -> SqliteStore | PostgresStore:
    """Open the store that the servers use."""
    return open_at(database_url, migrate=True)


def ticket_in(mail: Path) -> ClearTicket:
    """Return the ticket of a spooled mail, which release 1.0 wrote without blanks."""
    message = email.message_from_bytes(mail.read_bytes(), policy=email.policy.default)
    [ticket] = re.findall(r"^ {4}((?:\S{4} ?){6})\r?$", message.get_content(), re.MULTILINE)
    return ClearTicket(ticket.replace(" ", ""))


def assert_complete(database_url: str, mails: Path, subjects: list[Subject]) -> dict[Subject, TicketState]:
    """Assert that nothing is half-done, and return the rows.

    The row is the fold of its events; versions are dense; each minted ticket has its sealed row, or the record that it
    was delivered, which its mail then was, or that it was replaced; the newest mail's ticket is the one that verifies.
    """
    store = open_store(database_url)
    try:
        rows = states_of(store, subjects)
        pending = {entry.delivery_id for entry in _outbox(store)}
        minted: set[str] = set()
        delivered: set[str] = set()
        ended: set[str] = set()
        for subject in subjects:
            history = history_of(store, subject)
            assert fold(None, history) == rows.get(subject)
            assert [event.originator_version for event in history] == list(range(1, len(history) + 1))
            resets = [event for event in history if isinstance(event, TicketRegenerated)]
            assert [event.reset_count for event in resets] == list(range(1, len(resets) + 1))
            minted |= {delivery_id(event.originator_id, event.originator_version) for event in history}
            if (
                history
                and (mail := mails / f"{delivery_id(history[-1].originator_id, len(history))}.eml").exists()
            ):
                assert verify_ticket(ticket_in(mail), rows[subject].ticket_hash)
            for event in _reported(store, subject):
                name = delivery_id(stream_id(*subject), event.ticket_version)
                known = ended if isinstance(event, TicketDeliveryEnded) else delivered
                assert (
                    name not in pending | delivered | ended
                )  # each is recorded once, with the removal of its row
                known.add(name)
        assert minted == pending | delivered | ended
        assert delivered <= {mail.stem for mail in mails.glob("*.eml")} <= minted
        assert {stat.S_IMODE(mail.stat().st_mode) for mail in mails.iterdir()} <= {0o600}
        return rows
    finally:
        store.close()


def outbox_of(database_url: str) -> list[OutboxEntry]:
    """Return the pending deliveries."""
    store = open_store(database_url)
    try:
        return _outbox(store)
    finally:
        store.close()


def _outbox(store: SqliteStore | PostgresStore) -> list[OutboxEntry]:
    entries: list[OutboxEntry] = []
    while page := store.outbox_page(entries[-1].key if entries else None, 1000):
        entries += page
    return entries


def _reported(store: SqliteStore | PostgresStore, subject: Subject) -> list[DeliveryEvent]:
    found = [store.event(entry) for entry in store.newest_of_user(subject, TOPICS, 10_000)]
    return [event for event in found if isinstance(event, DeliveryEvent)]
