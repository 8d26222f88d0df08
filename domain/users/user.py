"""A user: the events of its registration, and the state that they determine.

No event contains the user's data: the row of table `recipients` has them, and each event commits to that row.
Stored shapes only grow; see domain/tickets/events.py.
"""

from dataclasses import dataclass, fields, replace
from datetime import datetime
from uuid import UUID

from domain.shared.aggregate import Aggregate
from domain.shared.attribution import Attribution
from domain.shared.event import Event, Origin
from domain.shared.stream_ids import named_stream_id
from domain.shared.subject import Subject
from domain.users.recipient import Contact, Recipient

AGGREGATE = "User"
_STREAMS = UUID("c3a5e1f4-8d27-5b60-a1c9-3f0e6b7d9258")


def user_stream_id(client_ext_id: str, user_ext_id: str) -> UUID:
    """Return the id of the user's event stream; it continues if an erased user is registered again."""
    return named_stream_id(_STREAMS, client_ext_id, user_ext_id)


@dataclass(frozen=True, kw_only=True)
class UserEvent(Event):
    """An event of a user; any of them may be the first of its stream, since users of release 1.0 had no events.

    changed: the names of the fields of Contact that changed.
    """

    AGGREGATE = AGGREGATE
    originator_topic: str = AGGREGATE
    client_ext_id: str
    user_ext_id: str
    changed: tuple[str, ...]

    @property
    def origin(self) -> Origin:
        """The user."""
        subject = Subject(self.client_ext_id, self.user_ext_id)
        return Origin(user_stream_id(*subject), subject, self.user_ext_id)


@dataclass(frozen=True, kw_only=True)
class UserRegistered(UserEvent):
    """The user was registered. recipient: the commitment to the row (domain/shared/commitment.py)."""

    TOPIC = "UserRegistered"
    recipient: str


@dataclass(frozen=True, kw_only=True)
class UserChanged(UserEvent):
    """Data of the user changed. recipient: the commitment to the new row."""

    TOPIC = "UserChanged"
    recipient: str


@dataclass(frozen=True, kw_only=True)
class UserErased(UserEvent):
    """The row of the user was deleted, with the salt of every commitment to it."""

    TOPIC = "UserErased"


@dataclass(frozen=True, kw_only=True)
class UserState:
    """The state of a user at a version of the stream. recipient: the commitment to the row; None: there must be no row."""

    client_ext_id: str
    user_ext_id: str
    version: int
    last_modified: datetime
    recipient: str | None

    @property
    def key(self) -> Subject:
        """The identity of the user."""
        return Subject(self.client_ext_id, self.user_ext_id)


def evolve(state: UserState | None, event: Event) -> UserState | None:
    """Apply the event to the state and return the new state."""
    if isinstance(event, UserEvent):
        return UserState(
            client_ext_id=event.client_ext_id,
            user_ext_id=event.user_ext_id,
            version=event.originator_version,
            last_modified=event.timestamp,
            recipient=event.recipient if isinstance(event, UserRegistered | UserChanged) else None,
        )
    return state and replace(state, version=event.originator_version, last_modified=event.timestamp)


class User(Aggregate[UserState]):
    """The aggregate of a user."""

    TOPIC = AGGREGATE
    evolve = staticmethod(evolve)

    @classmethod
    def of(cls, key: tuple[str, str], state: UserState | None) -> "User":
        """Return the aggregate in the given state; None: without events."""
        return cls.at(user_stream_id(*key), state)

    def register(self, recipient: Recipient, *, by: Attribution) -> None:
        """Record a new user. The recipient has a salt."""
        self._emit(UserRegistered, recipient, _present(recipient.contact), by, recipient=recipient.commitment)

    def change(self, former: Contact, recipient: Recipient, *, by: Attribution) -> None:
        """Record changed data. The recipient has a new salt."""
        changed = tuple(
            name for name, value in vars(recipient.contact).items() if value != getattr(former, name)
        )
        self._emit(UserChanged, recipient, changed, by, recipient=recipient.commitment)

    def erase(self, recipient: Recipient, *, by: Attribution) -> None:
        """Record the deletion of the row."""
        self._emit(UserErased, recipient, _present(recipient.contact), by)

    def _emit(
        self,
        event: type[UserEvent],
        user: Recipient,
        changed: tuple[str, ...],
        by: Attribution,
        **commitment: str | None,
    ) -> None:
        self.emit(
            event,
            client_ext_id=user.client_ext_id,
            user_ext_id=user.user_ext_id,
            changed=changed,
            by=by,
            **commitment,
        )


def _present(contact: Contact) -> tuple[str, ...]:
    return tuple(part.name for part in fields(Contact) if getattr(contact, part.name) is not None)
