"""A subscription to a client's events: its events, its state, and what may be decided on it.

The URL and the secrets are in no event. Stored shapes only grow; see domain/tickets/events.py.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID, uuid5

from msgspec import Struct
from msgspec.structs import replace

from domain.shared.aggregate import Aggregate
from domain.shared.attribution import Attribution
from domain.shared.event import Event

AGGREGATE = "Subscription"

_STREAMS = UUID("c2f0a3d4-7b1e-5f36-8e0d-2a6b9c4d1e57")


class Method(StrEnum):
    """How the events reach the subscriber."""

    WEBHOOK = "webhook"  # CloudEvents, signed as Standard Webhooks has it
    SET_PUSH = "set-push"  # security event tokens, RFC 8935
    SET_POLL = "set-poll"  # security event tokens, RFC 8936


class Status(StrEnum):
    """Whether events are sent. What is not sent waits, but for a subscription that is disabled."""

    ENABLED = "enabled"
    PAUSED = "paused"
    DISABLED = "disabled"
    PARKED = "parked"  # by the service, which tried for too long


class SubscriptionKey(NamedTuple):
    """A subscription of a client."""

    client_ext_id: str
    name: str


def subscription_stream_id(client_ext_id: str, name: str) -> UUID:
    """Return the id of the one stream of this subscription."""
    return uuid5(_STREAMS, f"{client_ext_id}\x1f{name}")


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is sent, and to whom.

    origin: of the URL, such as `https://siem.example`; the rest of it may be a secret. types: None for all.
    batch_size: events in one message at most. Of security event tokens: audience, who gets them; events_requested,
    which they asked for by their URIs, None for all; description, what they call it.
    """

    method: Method
    origin: str
    types: tuple[str, ...] | None = None
    batch_size: int = 1
    audience: str | None = None
    events_requested: tuple[str, ...] | None = None
    description: str | None = None


@dataclass(frozen=True, kw_only=True)
class SubscriptionEvent(Event):
    """Something that happened to a subscription."""

    AGGREGATE = AGGREGATE


@dataclass(frozen=True, kw_only=True)
class SubscriptionDefined(SubscriptionEvent):
    """These are the terms, all of them; the first of these begins the stream, and a later one may revive it."""

    TOPIC = "SubscriptionDefined"
    originator_topic: str = AGGREGATE
    client_ext_id: str
    name: str
    terms: Terms
    status: Status


@dataclass(frozen=True, kw_only=True)
class SubscriptionMoved(SubscriptionEvent):
    """The next event that is sent is the one after this position."""

    TOPIC = "SubscriptionMoved"
    position: int


@dataclass(frozen=True, kw_only=True)
class SubscriptionStatusChanged(SubscriptionEvent):
    """CheckpointSender continues, pauses or ends."""

    TOPIC = "SubscriptionStatusChanged"
    status: Status


@dataclass(frozen=True, kw_only=True)
class SubscriptionDeleted(SubscriptionEvent):
    """Nothing is sent any more."""

    TOPIC = "SubscriptionDeleted"


class SubscriptionState(Struct, frozen=True, kw_only=True):
    """A subscription after the event of a version; stored in table `subscriptions`."""

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
        """Which subscription it is."""
        return SubscriptionKey(self.client_ext_id, self.name)


def evolve(state: SubscriptionState | None, event: Event) -> SubscriptionState | None:
    """Return the state after the event."""
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
    """A subscription of a client. What was sent is no event."""

    TOPIC = AGGREGATE
    evolve = staticmethod(evolve)

    @classmethod
    def of(cls, key: SubscriptionKey, state: SubscriptionState | None) -> "Subscription":
        """Return the subscription in its state; None where it was never defined."""
        return cls.at(subscription_stream_id(*key), state)

    def define(self, key: SubscriptionKey, terms: Terms, *, resealed: bool, by: Attribution) -> None:
        """Replace the terms, or begin again after a deletion; the same again emits nothing.

        resealed: the URL or the secret differs. One that was parked is tried again.
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
        """Continue after this position, whatever was sent before."""
        self.emit(SubscriptionMoved, position=position, by=by)

    def change_status(self, status: Status, *, by: Attribution) -> None:
        """Continue (at once, also before the next try is due), pause or end sending."""
        if self.state and (status is not self.state.status or status is Status.ENABLED):
            self.emit(SubscriptionStatusChanged, status=status, by=by)

    def delete(self, *, by: Attribution) -> None:
        """Send nothing any more."""
        self.emit(SubscriptionDeleted, by=by)
