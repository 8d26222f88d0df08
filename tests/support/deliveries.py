"""Tickets minted without a server, the recorded deliveries, and the mails of a mail server."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from application.delivery.deliveries import TOPICS
from application.tickets.create_ticket import CreateTicket
from application.tickets.regenerate_ticket import RegenerateTicket
from application.transaction.command import Command
from application.transaction.group_commit import Background
from application.users.register_user import RegisterUser
from domain.delivery.ticket_delivery import DeliveryEvent
from domain.shared.subject import Subject
from domain.tickets.ticket import ClearTicket, verify_ticket
from interface.composition.service import in_background
from interface.settings import Settings
from tests.support.evidence import outbox_of
from tests.support.ledgers import opened
from tests.support.mail_server import Mail, MailServer, ticket_of
from tests.support.server import keys_of, until
from tests.support.service import command
from tests.support.stores import state_of

CLIENT = "client-123"
# Short intervals for tests.
QUICK = {
    "TICKETS_DELIVERY_RETRY_SECONDS": "0.05",
    "TICKETS_DELIVERY_LONGEST_WAIT_SECONDS": "0.5",
    "TICKETS_PUSH": "False",
}


def smtp(server: MailServer, **settings: str) -> dict[str, str]:
    """Return the settings of a delivery by a mail server with short retries."""
    return {**QUICK, "TICKETS_SMTP_URL": f"smtp+plain://127.0.0.1:{server.port}", **settings}


def subjects(count: int) -> list[Subject]:
    """Return this many users."""
    return [Subject(CLIENT, f"user-{number}") for number in range(count)]


def address(subject: Subject) -> str:
    """Return the email address of a user."""
    return f"{subject.user_ext_id}@example.com"


@contextmanager
def minting(directory: Path, database_url: str) -> Iterator["Minting"]:
    """Yield a minter of tickets with the keys of the servers in a directory, without delivery."""
    settings = Settings(
        database_url=database_url, migrate_at_start=True, max_daily_deliveries=-1, **keys_of(directory)
    )
    with in_background(settings) as (_, commands):
        yield Minting(commands)


class Minting:
    """Mints tickets."""

    def __init__(self, commands: Background) -> None:
        self._commands = commands

    def create(self, *users: Subject, email: str | None = None) -> None:
        """Register each of the users, and create the ticket."""
        for user in users:
            self._execute(RegisterUser, subject=user, email=email or address(user))
            self._execute(CreateTicket, subject=user)

    def reset(self, *users: Subject) -> None:
        """Reset the ticket of each of the users."""
        for user in users:
            self._execute(RegenerateTicket, subject=user)

    def _execute(self, kind: type[Command], **changes: Any) -> None:
        self._commands.execute(command(kind, **changes))


def all_over(database_url: str, seconds: float = 30) -> None:
    """Wait until no delivery is pending."""
    until(lambda: not outbox_of(database_url), "everything is delivered", seconds)


def recorded_of(database_url: str, users: Sequence[Subject]) -> dict[Subject, list[DeliveryEvent]]:
    """Return the recorded deliveries of each user, newest first."""
    with opened(database_url) as store:
        found = {
            user: [store.event(entry) for entry in store.newest_of_user(user, TOPICS, 100_000)]
            for user in users
        }
    return {
        user: [event for event in events if isinstance(event, DeliveryEvent)]
        for user, events in found.items()
    }


def assert_last_mails_verify(database_url: str, server: MailServer, users: Sequence[Subject]) -> None:
    """Assert that the last mail of each user contains the current ticket; no ticket is shown."""
    last = {mail.to: mail.message for mail in list(server.taken)}
    wrong = [
        user.user_ext_id
        for user in users
        if address(user) not in last or not holds_ticket_of(database_url, user, last[address(user)])
    ]
    assert wrong == []


def holds_ticket_of(database_url: str, user: Subject, message: EmailMessage) -> bool:
    """Return whether a mail contains the current ticket."""
    with opened(database_url) as store:
        ticket_hash = state_of(store, user).ticket_hash
    return verify_ticket(ClearTicket(ticket_of(message)), ticket_hash)


def lease_end(database_url: str) -> str:
    """Return the end of the lease of the only pending ticket, as stored."""
    with opened(database_url) as store:
        rows = store._fetch("SELECT leased_until FROM outbox", ())
    return str(rows[0][0])


def message_ids(mails: Sequence[Mail]) -> list[str]:
    """Return the Message-ID of each mail."""
    return [str(mail.message["Message-ID"]) for mail in mails]


def assert_doubles_are_the_same(server: MailServer) -> int:
    """Assert that mails with the same Message-ID are equal, each to one user; return the number of duplicates."""
    first: dict[str, Mail] = {}
    different = 0
    for identity, mail in zip(message_ids(server.taken), server.taken, strict=True):
        before = first.setdefault(identity, mail)
        different += (before.to, before.content) != (mail.to, mail.content)
    assert different == 0
    return len(server.taken) - len(first)
