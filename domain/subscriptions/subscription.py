"""A subscription to a client's events: its events, its state and its aggregate.

Events never contain the URL or the secrets. Stored shapes only grow; see domain/tickets/events.py.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.shared.aggregate import Aggregate
from domain.shared.attribution import Attribution
from domain.shared.event import Event, Origin
from domain.shared.stream_ids import named_stream_id
from domain.shared.subject import Subject

AGGREGATE = "Subscription"

_STREAMS = UUID("c2f0a3d4-7b1e-5f36-8e0d-2a6b9c4d1e57")


class Method(StrEnum):
    """The delivery methods of a subscription."""

    WEBHOOK = "webhook"  # CloudEvents, signed according to Standard Webhooks
    SET_PUSH = "set-push"  # security event tokens, RFC 8935
    SET_POLL = "set-poll"  # security event tokens, RFC 8936


class Status(StrEnum):
    """The status of a subscription. Events are retained while it is paused or parked, and skipped while it is disabled."""

    ENABLED = "enabled"
    PAUSED = "paused"
    DISABLED = "disabled"
    PARKED = "parked"  # set by the service after retrying for too long


class SubscriptionKey(NamedTuple):
    """The identity of a subscription."""

    client_ext_id: str
    name: str


def subscription_stream_id(client_ext_id: str, name: str) -> UUID:
    """Return the id of the subscription's event stream."""
    return named_stream_id(_STREAMS, client_ext_id, name)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The configuration of a subscription; the last three fields are for security event tokens only."""

    method: Method = field(metadata={"description": "How events are sent."})
    origin: str = field(
        metadata={"description": "Origin of the URL; the path may be a secret. Empty if the receiver polls."}
    )
    types: tuple[str, ...] | None = field(
        default=None, metadata={"description": "Types of the events to send; null: all."}
    )
    batch_size: int = field(default=1, metadata={"description": "Maximum number of events per message."})
    audience: str | None = field(default=None, metadata={"description": "The receiver."})
    events_requested: tuple[str, ...] | None = field(
        default=None, metadata={"description": "Event type URIs requested by the receiver; null: all."}
    )
    description: str | None = field(default=None, metadata={"description": "Set by the receiver."})


@dataclass(frozen=True, kw_only=True)
class SubscriptionEvent(Event):
    """An event of a subscription."""

    AGGREGATE = AGGREGATE


@dataclass(frozen=True, kw_only=True)
class SubscriptionDefined(SubscriptionEvent):
    """The subscription was created, replaced, or created again after a deletion; carries the complete configuration."""

    TOPIC = "SubscriptionDefined"
    originator_topic: str = AGGREGATE
    client_ext_id: str
    name: str
    terms: Terms
    status: Status

    @property
    def origin(self) -> Origin:
        """The subscription."""
        stream = subscription_stream_id(self.client_ext_id, self.name)
        return Origin(stream, Subject(self.client_ext_id), self.name)


@dataclass(frozen=True, kw_only=True)
class SubscriptionMoved(SubscriptionEvent):
    """The subscription continues after this position."""

    TOPIC = "SubscriptionMoved"
    position: int


@dataclass(frozen=True, kw_only=True)
class SubscriptionStatusChanged(SubscriptionEvent):
    """The subscription was enabled, paused or disabled."""

    TOPIC = "SubscriptionStatusChanged"
    status: Status


@dataclass(frozen=True, kw_only=True)
class SubscriptionDeleted(SubscriptionEvent):
    """The subscription was deleted."""

    TOPIC = "SubscriptionDeleted"


class SubscriptionState(Struct, frozen=True, kw_only=True):
    """The state of a subscription at a version; stored in table `subscriptions`."""

    client_ext_id: str
    name: str
    version: int
    terms: Terms
    status: Status
    status_reason: str | None
    created: datetime
    last_modified: datetime
    modification_comment: str | None
    deleted: bool = False

    @property
    def key(self) -> SubscriptionKey:
        """The identity of the subscription."""
        return SubscriptionKey(self.client_ext_id, self.name)


def evolve(state: SubscriptionState | None, event: Event) -> SubscriptionState | None:
    """Apply the event to the state and return the new state."""
    if isinstance(event, SubscriptionDefined):
        return _defined(None if state is None or state.deleted else state, event)
    if state is None:
        return None
    state = replace(state, version=event.originator_version, last_modified=event.timestamp)
    match event:
        case SubscriptionStatusChanged():
            return replace(state, status=event.status, status_reason=event.reason)
        case SubscriptionDeleted():
            return replace(state, deleted=True)
        case _:
            return state


def _defined(former: SubscriptionState | None, event: SubscriptionDefined) -> SubscriptionState:
    return SubscriptionState(
        client_ext_id=event.client_ext_id,
        name=event.name,
        version=event.originator_version,
        terms=event.terms,
        status=event.status,
        status_reason=former.status_reason if former and former.status is event.status else None,
        created=former.created if former else event.timestamp,
        last_modified=event.timestamp,
        modification_comment=event.reason,
    )


class Subscription(Aggregate[SubscriptionState]):
    """A subscription of a client. Deliveries are not recorded as events."""

    TOPIC = AGGREGATE
    evolve = staticmethod(evolve)

    @classmethod
    def of(cls, key: SubscriptionKey, state: SubscriptionState | None) -> "Subscription":
        """Return the aggregate in the given state; None: not defined yet."""
        return cls.at(subscription_stream_id(*key), state)

    def define(self, key: SubscriptionKey, terms: Terms, *, resealed: bool, by: Attribution) -> None:
        """Set the configuration; emits nothing if it is unchanged. A parked or deleted subscription is enabled.

        resealed: the URL or the secret differs.
        """
        state = self.state
        if state and not (resealed or state.deleted or terms != state.terms):
            return
        keeps_status = state and not state.deleted and state.status is not Status.PARKED
        self.emit(
            SubscriptionDefined,
            client_ext_id=key.client_ext_id,
            name=key.name,
            terms=terms,
            status=state.status if state and keeps_status else Status.ENABLED,
            by=by,
        )

    def move(self, position: int, *, by: Attribution) -> None:
        """Continue after this position, regardless of earlier deliveries."""
        self.emit(SubscriptionMoved, position=position, by=by)

    def change_status(self, status: Status, *, by: Attribution) -> None:
        """Change the status. Enabling always emits an event: it triggers an immediate retry."""
        if self.state and (status is not self.state.status or status is Status.ENABLED):
            self.emit(SubscriptionStatusChanged, status=status, by=by)

    def delete(self, *, by: Attribution) -> None:
        """Delete the subscription."""
        self.emit(SubscriptionDeleted, by=by)
