"""Read a user's ticket credential, or the user."""

from application.model.projection import TicketRow
from application.model.recipient import Recipient
from application.transaction.command import Subject
from application.transaction.ports import Known
from application.transaction.unit_of_work import UnitOfWork


def read_ticket(subject: Subject, known: Known) -> TicketRow:
    """Return the row of the user's credential. Raises UserUnknown, TicketUnknown."""
    return UnitOfWork(known).ticket(subject)


def read_user(subject: Subject, known: Known) -> Recipient:
    """Return the user. Raises UserUnknown."""
    return UnitOfWork(known).recipient(subject)
