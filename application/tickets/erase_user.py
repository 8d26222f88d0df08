"""Erase a user: the personal data and the ticket are deleted, the history is retained with ids only."""

from dataclasses import dataclass

from application.shared.ports import Clock
from application.tickets.records import TicketCommand, save, ticket_or_none
from application.transaction.command import Answer
from application.transaction.outcomes import Outcome
from application.transaction.unit_of_work import UnitOfWork
from application.users.records import USERS, user
from domain.tickets.ticket_credential import TicketCredential


@dataclass(frozen=True, kw_only=True)
class EraseUser(TicketCommand):
    """Erase the user and delete the ticket."""


def erase_user(command: EraseUser, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Erase the user and delete the ticket in one transaction. Raises UserNotFound, PreconditionFailed."""
    recipient = user(unit, command.subject)
    command.precondition.check(recipient.version)
    state = ticket_or_none(unit, command.subject)
    if state is not None:
        credential = TicketCredential.of(command.subject, state)
        credential.delete(by=command.attribution(clock()))
        save(unit, credential)
    unit.remove(USERS, command.subject)
    return command.done(Outcome.ERASED, None, None)
