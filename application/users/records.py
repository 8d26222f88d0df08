"""The record set of users, and lookups on it."""

from collections.abc import Sequence
from typing import Protocol

from application.transaction.records import Load, LoadedState, RecordSet
from application.transaction.unit_of_work import UnitOfWork
from domain.shared.errors import Kind, Refusal
from domain.shared.subject import Subject
from domain.users.recipient import Recipient

USERS = RecordSet[Subject, Recipient]("recipients")


class UserNotFound(Refusal):
    """The client has no such user."""

    CODE = "UserUnknown"
    KIND = Kind.NOT_FOUND


class Users(Protocol):
    """The users in the store. Raises StoreUnavailable."""

    def list_recipients(self, client_ext_id: str, after: str, limit: int) -> Sequence[Recipient]:
        """Return the next users of a client, sorted by id."""


def user_of(subject: Subject) -> Load:
    """Load a user."""
    return Load(USERS, subject)


def user(source: UnitOfWork | LoadedState, subject: Subject) -> Recipient:
    """Return the user. Raises UserNotFound."""
    recipient = source.get(USERS, subject)
    if recipient is None:
        raise UserNotFound(f"Client {subject.client_ext_id!r} has no user {subject.user_ext_id!r}.")
    return recipient
