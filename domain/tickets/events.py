"""The events of a ticket credential.

Stored shapes only grow: by fields with a default, or by new events. No field, topic or meaning of an event that was ever
released changes; tests/domain/record/golden_events.jsonl holds the stored bytes of each.
"""

from dataclasses import dataclass
from datetime import datetime

from domain.shared.event import Event
from domain.tickets.states import State

AGGREGATE = "TicketCredential"


@dataclass(frozen=True, kw_only=True)
class TicketEvent(Event):
    """Something that happened to a credential."""

    AGGREGATE = AGGREGATE


@dataclass(frozen=True, kw_only=True)
class TicketCreated(TicketEvent):
    """The credential exists, with its first ticket. After a deletion the stream continues with it."""

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


@dataclass(frozen=True, kw_only=True)
class TicketRegenerated(TicketEvent):
    """A new ticket replaced the former one, which no longer verifies; locks are lifted."""

    TOPIC = "TicketRegenerated"
    ticket_hash: str
    reset_count: int
    valid_from: datetime
    valid_to: datetime


@dataclass(frozen=True, kw_only=True)
class TicketStateChanged(TicketEvent):
    """Somebody activated, disabled or archived the credential."""

    TOPIC = "TicketStateChanged"
    state_name: State


@dataclass(frozen=True, kw_only=True)
class TicketPolicyAssigned(TicketEvent):
    """Another policy holds from the next time it is applied."""

    TOPIC = "TicketPolicyAssigned"
    policy_ext_id: str


@dataclass(frozen=True, kw_only=True)
class TicketValidityChanged(TicketEvent):
    """The same ticket has another validity."""

    TOPIC = "TicketValidityChanged"
    valid_from: datetime
    valid_to: datetime


@dataclass(frozen=True, kw_only=True)
class TicketCommented(TicketEvent):
    """Somebody wrote another comment, which is the reason."""

    TOPIC = "TicketCommented"


@dataclass(frozen=True, kw_only=True)
class TicketVerified(TicketEvent):
    """The right ticket was presented, and accepted."""

    TOPIC = "TicketVerified"


@dataclass(frozen=True, kw_only=True)
class WrongTicketPresented(TicketEvent):
    """A wrong ticket was presented; state_name and locked_until are the consequence."""

    TOPIC = "WrongTicketPresented"
    state_name: State
    locked_until: datetime | None


@dataclass(frozen=True, kw_only=True)
class TicketHashUpgraded(TicketEvent):
    """The same ticket is hashed as the policy requires now."""

    TOPIC = "TicketHashUpgraded"
    ticket_hash: str


@dataclass(frozen=True, kw_only=True)
class TicketExpirySoon(TicketEvent):
    """The ticket's validity ends soon; emitted once per ticket."""

    TOPIC = "TicketExpirySoon"
    valid_to: datetime


@dataclass(frozen=True, kw_only=True)
class TicketExpired(TicketEvent):
    """The ticket's validity has ended; emitted once per ticket."""

    TOPIC = "TicketExpired"
    valid_to: datetime


@dataclass(frozen=True, kw_only=True)
class TicketDeleted(TicketEvent):
    """The credential was deleted; its history stays."""

    TOPIC = "TicketDeleted"
