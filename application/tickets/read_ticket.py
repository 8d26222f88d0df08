"""Read a user's ticket credential, or the user."""

from application.transaction.ports import Known
from application.transaction.unit_of_work import UnitOfWork
from domain.shared.subject import Subject
from domain.tickets.state import TicketState
from domain.users.recipient import Recipient


def read_ticket(subject: Subject, known: Known) -> TicketState:
    """Return the row of the user's credential. Raises UserUnknown, TicketUnknown."""
    return UnitOfWork(known).ticket(subject)


def read_user(subject: Subject, known: Known) -> Recipient:
    """Return the user. Raises UserUnknown."""
    return UnitOfWork(known).recipient(subject)
