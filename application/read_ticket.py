"""Read a user's ticket credential, or the user."""

from application.command import Subject
from application.ports import Known
from application.projection import TicketRow
from application.recipient import Recipient
from application.unit_of_work import UnitOfWork


def read_ticket(subject: Subject, known: Known) -> TicketRow:
    """Return the row of the user's credential. Raises UserUnknown, TicketUnknown."""
    return UnitOfWork(known).ticket(subject)


def read_user(subject: Subject, known: Known) -> Recipient:
    """Return the user. Raises UserUnknown."""
    return UnitOfWork(known).recipient(subject)
