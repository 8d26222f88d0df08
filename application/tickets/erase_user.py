"""Erase a user: personal data, comments and the ticket are deleted, the history is retained with ids only."""

from collections.abc import Sequence

from application.shared.ports import Clock
from application.tickets.records import TICKETS, TicketCommand, save
from application.transaction.command import Answer
from application.transaction.details import answers_of, erase_texts
from application.transaction.outcomes import Outcome
from application.transaction.records import Load
from application.transaction.unit_of_work import UnitOfWork
from application.users.records import USER_STATES, USERS, UserNotFound, user, user_state_of
from domain.tickets.ticket_credential import TicketCredential
from domain.users.user import User


class EraseUser(TicketCommand, frozen=True, kw_only=True):
    """Erase the user and delete the ticket."""

    def loads(self) -> Sequence[Load]:
        """Return the rows of a ticket command, the state of the user's stream, and the answers to the user's commands."""
        return [*super().loads(), user_state_of(self.subject), answers_of(self.subject)]


def erase_user(command: EraseUser, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Erase the user with all comments and delete the ticket in one transaction. Raises UserNotFound, PreconditionFailed."""
    recipient = user(unit, command.subject)
    command.precondition.check(recipient.version)
    by = command.attribution(clock())
    state = unit.get(TICKETS, command.subject)
    if state and state.deleted:
        unit.put(TICKETS, command.subject, state)  # without the comment that release 1.0 kept
    elif state:
        credential = TicketCredential.of(command.subject, state)
        credential.delete(by=by)
        save(unit, credential)
    recorded = User.of(command.subject, unit.get(USER_STATES, command.subject))
    recorded.erase(recipient, by=by)
    unit.save(USER_STATES, command.subject, recorded, command.subject)
    unit.remove(USERS, command.subject)
    erase_texts(unit, command.subject, UserNotFound(f"User {command.subject.user_ext_id!r} was erased."))
    return command.done(Outcome.ERASED, None, None)
