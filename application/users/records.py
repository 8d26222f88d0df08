"""The record sets of users, and lookups on them."""

from collections.abc import Sequence
from typing import Protocol

from application.transaction.command import Command
from application.transaction.records import CommittedRecords, Load, LoadedState, RecordSet
from application.transaction.unit_of_work import UnitOfWork
from domain.shared.errors import Kind, Refusal
from domain.shared.subject import Subject
from domain.users.recipient import Recipient
from domain.users.user import User, UserState, user_stream_id

USERS = CommittedRecords[Subject, Recipient]("recipients", User, "recipient")
USER_STATES = RecordSet[Subject, UserState]("user_states")
"""The state of each user's stream, read from its newest event, so that it outlives the user's row (ADR 16)."""


class UserNotFound(Refusal):
    """The client has no such user."""

    CODE = "UserUnknown"
    KIND = Kind.NOT_FOUND


class UserCommand(Command, frozen=True):
    """A command about the data of a user."""

    def loads(self) -> Sequence[Load]:
        """Return the user and the state of its stream."""
        return [user_of(self.subject), user_state_of(self.subject)]


class Users(Protocol):
    """The users in the store. Raises StoreUnavailable."""

    def list_recipients(self, client_ext_id: str, after: str, limit: int) -> Sequence[Recipient]:
        """Return the next users of a client, sorted by id."""

    def unrecorded_recipients(self, after: Subject, limit: int) -> Sequence[Recipient]:
        """Return the next users of all clients, sorted by their ids, without a commitment to their row."""


def user_of(subject: Subject) -> Load:
    """Load a user."""
    return Load(USERS, subject)


def user_state_of(subject: Subject) -> Load:
    """Load the state of a user's stream."""
    return Load(USER_STATES, (subject.client_ext_id, user_stream_id(*subject)))


def user(source: UnitOfWork | LoadedState, subject: Subject) -> Recipient:
    """Return the user. Raises UserNotFound."""
    recipient = source.get(USERS, subject)
    if recipient is None:
        raise UserNotFound(f"Client {subject.client_ext_id!r} has no user {subject.user_ext_id!r}.")
    return recipient
