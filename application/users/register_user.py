"""Register a user."""

from collections.abc import Sequence
from dataclasses import dataclass

from application.shared.ports import Clock
from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from application.transaction.records import Load
from application.transaction.unit_of_work import UnitOfWork
from application.users.records import USERS, user_of
from application.users.response import to_response
from domain.users.recipient import Contact, Recipient


@dataclass(frozen=True, kw_only=True)
class RegisterUser(Command):
    """Set the complete data of a user."""

    contact: Contact

    def loads(self) -> Sequence[Load]:
        """Return the user."""
        return [user_of(self.subject)]


def register_user(command: RegisterUser, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Create or replace a user; idempotent. Raises PreconditionFailed."""
    known = unit.get(USERS, command.subject)
    command.precondition.check(known.version if known else None)
    if known and known.contact == command.contact:
        return command.done(Outcome.UNCHANGED, known.version, to_response(known))
    now = clock()
    recipient = Recipient(
        client_ext_id=command.subject.client_ext_id,
        user_ext_id=command.subject.user_ext_id,
        **vars(command.contact),
        created=known.created if known else now,
        last_modified=now,
        version=known.version + 1 if known else 1,
    )
    unit.put(USERS, command.subject, recipient)
    return command.done(
        Outcome.CHANGED if known else Outcome.CREATED, recipient.version, to_response(recipient)
    )
