"""What the commands of one transaction see and change, before any of it is stored."""

from typing import cast

from application.command import Subject
from application.errors import PolicyUnknown, TicketUnknown, UserUnknown
from application.ports import Changes, Known, OutboxEntry
from application.projection import TicketRow, fold, restore
from application.recipient import Recipient
from domain.policy import DEFAULT_POLICY, TicketPolicy
from domain.ticket_credential import TicketCredential


class UnitOfWork:
    """The view of one command: what the store knows, under what earlier commands of the batch changed.

    Rows are immutable and aggregates are restored from them anew for each command, so a command that fails
    half-way leaves nothing behind: its `changes` are simply not taken over.
    """

    def __init__(self, known: Known) -> None:
        self._known = known
        self.changes = Changes()

    def recipient(self, subject: Subject) -> Recipient:
        """Return the user. Raises UserUnknown."""
        recipient = self.recipient_or_none(subject)
        if recipient is None:
            raise UserUnknown(
                f"There is no user {subject.user_ext_id!r} in client {subject.client_ext_id!r}."
            )
        return recipient

    def recipient_or_none(self, subject: Subject) -> Recipient | None:
        """Return the user, or None."""
        return self._known.recipients.get(subject)

    def ticket(self, subject: Subject) -> TicketRow:
        """Return the row of the user's credential. Raises UserUnknown or TicketUnknown."""
        self.recipient(subject)
        row = self._known.tickets.get(subject)
        if row is None:
            raise TicketUnknown(f"User {subject.user_ext_id!r} has no ticket. Create one first.")
        return row

    def has_ticket(self, subject: Subject) -> bool:
        """Tell whether the user has a ticket."""
        return subject in self._known.tickets

    def credential(self, subject: Subject) -> TicketCredential:
        """Return the user's credential. Raises UserUnknown or TicketUnknown."""
        return restore(self.ticket(subject))

    def policy(self, client_ext_id: str, policy_ext_id: str) -> TicketPolicy:
        """Return the policy as it is now. Raises PolicyUnknown."""
        if policy_ext_id != DEFAULT_POLICY.ext_id:
            raise PolicyUnknown(f"There is no policy {policy_ext_id!r} in client {client_ext_id!r}.")
        return DEFAULT_POLICY

    def save(self, credential: TicketCredential) -> TicketRow:
        """Take over the events that the credential triggered; return the row after them."""
        events = cast("list[TicketCredential.Event]", credential.collect_events())
        subject = Subject(credential.client_ext_id, credential.user_ext_id)
        row = fold(self._known.tickets.get(subject), events)
        if row is None:
            raise ValueError("a credential without an event is not saved")
        self.changes.events.extend(events)
        self.changes.tickets[subject] = row
        return row

    def save_recipient(self, recipient: Recipient) -> None:
        """Take over a new or changed user."""
        self.changes.recipients[recipient.subject] = recipient

    def hand_over(self, row: TicketRow, sealed: bytes) -> None:
        """Put the sealed ticket that the row's version minted into the outbox."""
        self.changes.outbox.append(
            OutboxEntry(row.subject, row.stream, row.version, sealed, row.last_modified)
        )


def merge(known: Known, total: Changes, changes: Changes) -> None:
    """Add what one command changed to the whole of its batch, and let the next command see it."""
    total.events.extend(changes.events)
    total.outbox.extend(changes.outbox)
    for mine, theirs, new in (
        (known.tickets, total.tickets, changes.tickets),
        (known.recipients, total.recipients, changes.recipients),
        (known.answers, total.answers, changes.answers),
    ):
        mine.update(new)  # type: ignore[arg-type]
        theirs.update(new)  # type: ignore[arg-type]
