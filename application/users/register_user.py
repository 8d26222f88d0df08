"""Register a user."""

from collections.abc import Sequence
from datetime import datetime

from application.shared.ports import Clock, Randomness
from application.transaction.command import Answer
from application.transaction.new_ids import check_new_id_in_client, client_of_new_id
from application.transaction.outcomes import Outcome
from application.transaction.records import Load
from application.transaction.unit_of_work import UnitOfWork
from application.users.records import USER_STATES, USERS, UserCommand
from application.users.response import to_response
from domain.shared.commitment import SALT_BYTES
from domain.users.recipient import Contact, Recipient
from domain.users.user import User, UserState


class RegisterUser(UserCommand, frozen=True, kw_only=True):
    """Set the complete data of a user."""

    contact: Contact

    def loads(self) -> Sequence[Load]:
        """Return also whether the client exists, where a new user could not create it."""
        return [*super().loads(), *client_of_new_id(self.subject.client_ext_id)]


def register_user(command: RegisterUser, unit: UnitOfWork, *, clock: Clock, randomness: Randomness) -> Answer:
    """Create or replace a user; idempotent. Raises PreconditionFailed, InvalidIdentifier."""
    known = unit.get(USERS, command.subject)
    command.precondition.check(known.version if known else None)
    if known and known.contact == command.contact:
        return command.done(Outcome.UNCHANGED, known.version, to_response(known))
    by = command.attribution(clock())
    state = unit.get(USER_STATES, command.subject)
    if not known and not state:
        check_new_id_in_client(unit, command.subject.client_ext_id, "userExtId", command.subject.user_ext_id)
    recipient = _recipient(command, known, state, by.timestamp, randomness.octets(SALT_BYTES))
    recorded = User.of(command.subject, state)
    if known:
        recorded.change(known.contact, recipient, by=by)
    else:
        recorded.register(recipient, by=by)
    unit.save(USER_STATES, command.subject, recorded, command.subject)
    unit.put(USERS, command.subject, recipient)
    return command.done(
        Outcome.CHANGED if known else Outcome.CREATED, recipient.version, to_response(recipient)
    )


def _recipient(
    command: RegisterUser, known: Recipient | None, state: UserState | None, now: datetime, salt: bytes
) -> Recipient:
    if known and known.addresses == command.contact.addresses:
        address_version = known.addressed_at
    else:
        # The versions of a user who is registered again begin at 1, but not the events.
        address_version = max(known.addressed_at if known else 0, state.version if state else 0) + 1
    return Recipient(
        client_ext_id=command.subject.client_ext_id,
        user_ext_id=command.subject.user_ext_id,
        **vars(command.contact),
        created=known.created if known else now,
        last_modified=now,
        version=known.version + 1 if known else 1,
        address_version=address_version,
        salt=salt,
    )
