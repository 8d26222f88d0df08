"""Record the users that release 1.0 stored without an event, after an upgrade."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace

from application.shared.errors import RowRefused
from application.shared.ports import Clock, Randomness
from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from application.transaction.store import Store
from application.transaction.unit_of_work import UnitOfWork
from application.users.records import USER_STATES, USERS, UserCommand, Users
from domain.shared.commitment import SALT_BYTES
from domain.shared.subject import Subject
from domain.users.user import User

ACTOR = "tickets users record"
PAGE = 500


@dataclass(frozen=True, kw_only=True)
class RecordUser(UserCommand):
    """Record a user whose row has no salt."""


def record_user(command: RecordUser, unit: UnitOfWork, *, clock: Clock, randomness: Randomness) -> Answer:
    """Emit one event with a commitment to the row, unless it has one. The version of the user is unchanged."""
    known = unit.get(USERS, command.subject)
    if known is None or known.salt is not None:
        return command.done(Outcome.UNCHANGED, None, None)
    recipient = replace(known, address_version=known.addressed_at, salt=randomness.octets(SALT_BYTES))
    by = command.attribution(clock())
    recorded = User.of(command.subject, unit.get(USER_STATES, command.subject))
    if recorded.state and recorded.state.recipient:
        # A process of release 1.0 changed the row beside one of this release; the changed fields are unknown.
        recorded.change(recipient.contact, recipient, by=by)
    else:
        recorded.register(recipient, by=by)
    unit.save(USER_STATES, command.subject, recorded, command.subject)
    unit.put(USERS, command.subject, recipient)
    return command.done(Outcome.RECORDED, recipient.version, None)


def record_users(
    *,
    store: Store,
    users: Users,
    submit: Callable[[Command], Future[Answer]],
    new_command_id: Callable[[], str],
    correlation_id: str,
    stopped: Callable[[], bool] = lambda: False,
) -> int | None:
    """Record every user without a commitment; returns their number, None: another process is doing so.

    An event and the salt of its row are stored together, so a run that was interrupted can be repeated. Raises
    StoreUnavailable.
    """
    with store.lease("record-users") as held:
        if not held:
            return None
        count, after = 0, Subject("")
        while not stopped() and (found := users.unrecorded_recipients(after, PAGE)):
            commands = [
                RecordUser(
                    subject=recipient.subject,
                    actor=ACTOR,
                    reason=None,
                    correlation_id=correlation_id,
                    command_id=new_command_id(),
                    request_digest="",
                )
                for recipient in found
            ]
            for future in [submit(command) for command in commands]:
                with suppress(RowRefused):  # logged by the store; the others must not wait for a repair
                    count += future.result().outcome == Outcome.RECORDED
            after = found[-1].subject
        return count
