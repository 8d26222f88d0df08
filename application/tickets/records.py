"""The record set of ticket credentials, and lookups on it."""

from collections.abc import Callable, Sequence

from application.policies.records import policies_of
from application.transaction.command import Command
from application.transaction.records import DerivedRecords, Load, LoadedState
from application.transaction.unit_of_work import UnitOfWork
from application.users.records import USERS, user, user_of
from domain.policies.policy import OFF, TicketPolicy
from domain.shared.errors import Kind, Refusal
from domain.shared.subject import Subject
from domain.tickets.state import TicketState
from domain.tickets.ticket import ClearTicket
from domain.tickets.ticket_credential import TicketCredential

TICKETS = DerivedRecords[Subject, TicketState]("tickets", TicketCredential, "user")
# Queues a newly minted ticket for delivery, in the same transaction.
Enqueue = Callable[[UnitOfWork, TicketState, ClearTicket, TicketPolicy, str], None]


class TicketNotFound(Refusal):
    """The user has no ticket."""

    CODE = "TicketUnknown"
    KIND = Kind.NOT_FOUND


class TicketExists(Refusal):
    """The user already has a ticket; there is one per user and client."""

    CODE = "TicketExists"
    KIND = Kind.TICKET_EXISTS


class TicketCommand(Command, frozen=True):
    """A command about the ticket of a user."""

    def loads(self) -> Sequence[Load]:
        """Return the user, the ticket, and the client's policies."""
        return [*ticket_of(self.subject), policies_of(self.subject.client_ext_id)]


class SendingCommand(TicketCommand, frozen=True, kw_only=True):
    """A command that sends a ticket. overrides_limit: the caller may exceed the daily limit."""

    overrides_limit: bool = False

    def daily_limit(self, policy: TicketPolicy, max_daily_deliveries: int) -> int:
        """Return the tickets that the user may get per UTC day; -1: no limit. max_daily_deliveries: without one in the policy."""
        if self.overrides_limit:
            return OFF
        limit = policy.max_daily_delivery_count
        return max_daily_deliveries if limit is None else limit


def ticket_of(subject: Subject) -> list[Load]:
    """Load a user and their ticket."""
    return [Load(TICKETS, subject), user_of(subject)]


def ticket(source: UnitOfWork | LoadedState, subject: Subject) -> TicketState:
    """Return the state of the user's credential. Raises UserNotFound or TicketNotFound."""
    user(source, subject)
    state = source.get(TICKETS, subject)
    if state is None or state.deleted:
        raise TicketNotFound(f"User {subject.user_ext_id!r} has no ticket. Create one first.")
    return state


def ticket_or_none(source: UnitOfWork | LoadedState, subject: Subject) -> TicketState | None:
    """Return the state of the user's credential; None: the user or the ticket does not exist."""
    state = source.get(TICKETS, subject) if source.get(USERS, subject) else None
    return None if state is None or state.deleted else state


def credential(unit: UnitOfWork, subject: Subject) -> TicketCredential:
    """Return the user's credential. Raises UserNotFound or TicketNotFound."""
    return TicketCredential.of(subject, ticket(unit, subject))


def new_credential(unit: UnitOfWork, subject: Subject) -> TicketCredential:
    """Return the aggregate for a user without a credential, or with a deleted one. Raises TicketExists."""
    state = unit.get(TICKETS, subject)
    if state is not None and not state.deleted:
        raise TicketExists(f"User {subject.user_ext_id!r} already has a ticket. Reset it to get a new one.")
    return TicketCredential.of(subject, state)


def save(unit: UnitOfWork, credential: TicketCredential) -> TicketState:
    """Store the credential's events and state. Returns the state."""
    subject = credential.current.subject
    return unit.save(TICKETS, subject, credential, subject)
