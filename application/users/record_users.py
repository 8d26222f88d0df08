"""Record the users that release 1.0 stored without an event, after an upgrade."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from application.shared.errors import RowRefused
from application.shared.ports import Clock, Randomness
from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from application.transaction.store import Store
from application.transaction.unit_of_work import UnitOfWork
from application.users.records import USER_STATES, USERS, UserCommand, Users
from domain.shared.commitment import SALT_BYTES
from domain.shared.errors import Refusal
from domain.shared.subject import Subject
from domain.users.user import User

ACTOR = "tickets users record"
PAGE = 500


class CommitmentMissing(Refusal):
    """The row of a user with events has no commitment: a process of release 1.0 or a writer to the database changed it."""

    CODE = "CommitmentMissing"


class RecordReport(NamedTuple):
    """The number of recorded users, and of those with events, which are left to the operator."""

    recorded: int
    left: int


class RecordUser(UserCommand, frozen=True, kw_only=True):
    """Record a user whose row has no salt.

    by_operator: also if the user has events. A job must not do that: it would commit to a row that a writer to the database
    has changed.
    """

    by_operator: bool = False


def record_user(command: RecordUser, unit: UnitOfWork, *, clock: Clock, randomness: Randomness) -> Answer:
    """Emit one event with a commitment to the row, unless it has one. The version of the user is unchanged.

    Raises CommitmentMissing.
    """
    known = unit.get(USERS, command.subject)
    if known is None or known.salt is not None:
        return command.done(Outcome.UNCHANGED, None, None)
    state = unit.get(USER_STATES, command.subject)
    if state and not command.by_operator:
        raise CommitmentMissing("the user has events, and its row has no commitment")
    recipient = replace(known, address_version=known.addressed_at, salt=randomness.octets(SALT_BYTES))
    by = command.attribution(clock())
    recorded = User.of(command.subject, state)
    if recorded.state and recorded.state.recipient:
        # The operator confirms that a process of release 1.0 changed the row; the changed fields are unknown.
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
    operator: str | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> RecordReport | None:
    """Record every user without events; None: another process is doing so.

    operator: the actor, who records users with events, too; None: a job. An event and the salt of its row are stored
    together, so a run that was interrupted can be repeated. Raises StoreUnavailable.
    """
    with store.lease("record-users") as held:
        if not held:
            return None
        recorded, left, after = 0, 0, Subject("")
        while not stopped() and (found := users.unrecorded_recipients(after, PAGE)):
            commands = [
                RecordUser(
                    subject=recipient.subject,
                    actor=operator or ACTOR,
                    reason=None,
                    correlation_id=correlation_id,
                    command_id=new_command_id(),
                    request_digest="",
                    by_operator=operator is not None,
                )
                for recipient in found
            ]
            for future in [submit(command) for command in commands]:
                with suppress(RowRefused):  # logged by the store; the others must not wait for a repair
                    outcome = future.result().outcome
                    recorded += outcome == Outcome.RECORDED
                    left += outcome == CommitmentMissing.CODE
            after = found[-1].subject
        return RecordReport(recorded, left)
