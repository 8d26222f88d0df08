"""Erase a user: the personal data goes, the history stays with ids only."""

from dataclasses import dataclass

from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from application.transaction.ports import Clock
from application.transaction.unit_of_work import UnitOfWork
from domain.tickets.ticket_credential import TicketCredential


@dataclass(frozen=True, kw_only=True)
class EraseUser(Command):
    """Forget who the user is; a ticket of theirs is deleted with them."""


def erase_user(command: EraseUser, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Erase the recipient, and delete the ticket, in one. Raises UserUnknown, PreconditionFailed."""
    recipient = unit.recipient(command.subject)
    command.precondition.check(recipient.version)
    row = unit.ticket_or_none(command.subject)
    if row is not None:
        credential = TicketCredential.of(command.subject, row)
        credential.delete(by=command.attribution(clock()))
        unit.save(credential)
    unit.erase(recipient)
    return command.done(Outcome.ERASED, None, None)
