"""Read a user's ticket credential, or the user."""

from application.command import Subject
from application.ports import Store
from application.projection import TicketRow
from application.recipient import Recipient
from application.unit_of_work import UnitOfWork


def read_ticket(subject: Subject, *, store: Store) -> TicketRow:
    """Return the row of the user's credential. Raises UserUnknown, TicketUnknown, StoreUnavailable."""
    return UnitOfWork(store.look_up([subject])).ticket(subject)


def read_user(subject: Subject, *, store: Store) -> Recipient:
    """Return the user. Raises UserUnknown, StoreUnavailable."""
    return UnitOfWork(store.look_up([subject])).recipient(subject)
