"""The events of a ticket credential.

Stored shapes only grow: by fields with a default, or by new events. The fields, topic and meaning of a released event
never change; tests/domain/record/golden_events.jsonl contains the stored bytes of each event.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from msgspec import UNSET, UnsetType

from domain.shared.event import Event, Origin
from domain.shared.stream_ids import named_stream_id
from domain.shared.subject import Subject
from domain.tickets.states import State

AGGREGATE = "TicketCredential"
_STREAMS = UUID("6f5fd1b7-2f0b-5a52-8c1e-5d3b1d1f3a60")


def stream_id(client_ext_id: str, user_ext_id: str) -> UUID:
    """Return the id of the credential's event stream: one per user lets the store enforce that a user has one ticket."""
    return named_stream_id(_STREAMS, client_ext_id, user_ext_id)


@dataclass(frozen=True, kw_only=True)
class TicketEvent(Event):
    """An event of a ticket credential.

    daily_delivery_count: the tickets of the UTC day up to the event (of a later day, if a former event has it); absent from
    events of release 1.0.
    """

    AGGREGATE = AGGREGATE
    daily_delivery_count: int | UnsetType = UNSET

    @property
    def ticket(self) -> tuple[UUID, int]:
        """The credential at the version of the event."""
        return self.originator_id, self.originator_version


@dataclass(frozen=True, kw_only=True)
class TicketCreated(TicketEvent):
    """The credential was created with its first ticket. It may follow a deletion in the same stream."""

    TOPIC = "TicketCreated"
    originator_topic: str = AGGREGATE
    client_ext_id: str
    user_ext_id: str
    ext_id: str
    policy_ext_id: str
    state_name: State
    ticket_hash: str
    valid_from: datetime
    valid_to: datetime

    @property
    def origin(self) -> Origin:
        """The user's credential."""
        subject = Subject(self.client_ext_id, self.user_ext_id)
        return Origin(stream_id(*subject), subject, self.ext_id)


@dataclass(frozen=True, kw_only=True)
class TicketImported(TicketEvent):
    """The credential was imported from another system, or again, in its state at that time.

    source: the name of that system. source_version: of the credential in it; None: unknown. row_digest: hex SHA-256 of source
    and row without its comment, by which an import recognises the row. expiry_warned: a warning of its expiry was already due.
    history_digest: hex SHA-256 of the document with its history in that system; absent: without such a document.
    """

    TOPIC = "TicketImported"
    originator_topic: str = AGGREGATE
    client_ext_id: str
    user_ext_id: str
    ext_id: str
    policy_ext_id: str
    state_name: State
    state_change_reason: str
    ticket_hash: str
    valid_from: datetime
    valid_to: datetime
    created: datetime
    last_successful_login_date: datetime | None
    successful_login_count: int
    last_failed_login_date: datetime | None
    failed_login_count: int
    failure_count: int
    success_count: int
    reset_count: int
    locked_until: datetime | None
    expiry_warned: bool
    source: str
    source_version: int | None
    row_digest: str
    history_digest: str | UnsetType = UNSET

    @property
    def origin(self) -> Origin:
        """The user's credential."""
        subject = Subject(self.client_ext_id, self.user_ext_id)
        return Origin(stream_id(*subject), subject, self.ext_id)


@dataclass(frozen=True, kw_only=True)
class TicketRegenerated(TicketEvent):
    """A new ticket replaced the former one, which is no longer accepted; locks are removed.

    job: the bulk job of which the reset is an item; absent from other resets.
    """

    TOPIC = "TicketRegenerated"
    ticket_hash: str
    reset_count: int
    valid_from: datetime
    valid_to: datetime
    job: str | UnsetType = UNSET


@dataclass(frozen=True, kw_only=True)
class TicketStateChanged(TicketEvent):
    """The credential was activated, disabled or archived.

    failed_login_count: the wrong tickets in a row, which remain; absent from events of release 1.0, which set them
    to 0.
    """

    TOPIC = "TicketStateChanged"
    state_name: State
    failed_login_count: int | UnsetType = UNSET


@dataclass(frozen=True, kw_only=True)
class TicketPolicyAssigned(TicketEvent):
    """Another policy was assigned; it applies from the next operation."""

    TOPIC = "TicketPolicyAssigned"
    policy_ext_id: str


@dataclass(frozen=True, kw_only=True)
class TicketValidityChanged(TicketEvent):
    """The validity of the current ticket was changed."""

    TOPIC = "TicketValidityChanged"
    valid_from: datetime
    valid_to: datetime


@dataclass(frozen=True, kw_only=True)
class TicketCommented(TicketEvent):
    """The modification comment was changed; the reason holds the new one."""

    TOPIC = "TicketCommented"


@dataclass(frozen=True, kw_only=True)
class TicketVerified(TicketEvent):
    """The correct ticket was presented and accepted."""

    TOPIC = "TicketVerified"


@dataclass(frozen=True, kw_only=True)
class WrongTicketPresented(TicketEvent):
    """A wrong ticket was presented; state_name and locked_until are the result."""

    TOPIC = "WrongTicketPresented"
    state_name: State
    locked_until: datetime | None


@dataclass(frozen=True, kw_only=True)
class TicketHashUpgraded(TicketEvent):
    """The current ticket was rehashed with the algorithm that the policy requires."""

    TOPIC = "TicketHashUpgraded"
    ticket_hash: str


@dataclass(frozen=True, kw_only=True)
class TicketExpirySoon(TicketEvent):
    """The ticket is close to expiration; emitted once per ticket."""

    TOPIC = "TicketExpirySoon"
    valid_to: datetime


@dataclass(frozen=True, kw_only=True)
class TicketExpired(TicketEvent):
    """The ticket expired; emitted once per ticket."""

    TOPIC = "TicketExpired"
    valid_to: datetime


@dataclass(frozen=True, kw_only=True)
class TicketDeleted(TicketEvent):
    """The credential was deleted; its history is retained."""

    TOPIC = "TicketDeleted"
