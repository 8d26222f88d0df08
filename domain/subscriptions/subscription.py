"""A subscription: what of a client's events is sent to whom. Where it goes is told by its origin only."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID, uuid5

from eventsourcing.domain import BaseAggregate, CanInitAggregate

from domain.shared.attribution import Attribution
from domain.shared.event import Event as _Event

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


class Subscription(BaseAggregate[UUID]):
    """A subscription of a client and all that was ever said of it; what was sent is no event."""

    TOPIC = "Subscription"

    def __init__(self) -> None:
        self.client_ext_id: str
        self.name: str
        self.terms: Terms
        self.status: Status
        self.deleted: bool

    # The same rule as for the events of a credential: stored shapes only grow.

    @dataclass(frozen=True, kw_only=True)
    class Event(_Event):
        """Something that happened to a subscription."""

    @dataclass(frozen=True, kw_only=True)
    class SubscriptionDefined(Event, CanInitAggregate[UUID]):
        """These are the terms from now on, all of them; the first of these begins the stream, or revives it.

        The URL and the secrets may have changed, too; they are in no event.
        """

        TOPIC = "SubscriptionDefined"
        originator_topic: str
        client_ext_id: str
        name: str
        terms: Terms
        status: Status

        def mutate(self, aggregate: Any) -> Any:
            """Begin or go on."""
            return super().mutate(None) if aggregate is None else _Event.mutate(self, aggregate)

        def apply(self, aggregate: "Subscription") -> None:
            """Evolve."""
            aggregate.client_ext_id = self.client_ext_id
            aggregate.name = self.name
            aggregate.terms = self.terms
            aggregate.status = self.status
            aggregate.deleted = False

    @dataclass(frozen=True, kw_only=True)
    class SubscriptionMoved(Event):
        """The next event that is sent is the one after this position."""

        TOPIC = "SubscriptionMoved"
        position: int

    @dataclass(frozen=True, kw_only=True)
    class SubscriptionStatusChanged(Event):
        """Sending goes on, waits or ends."""

        TOPIC = "SubscriptionStatusChanged"
        status: Status

        def apply(self, aggregate: "Subscription") -> None:
            """Evolve."""
            aggregate.status = self.status

    @dataclass(frozen=True, kw_only=True)
    class SubscriptionDeleted(Event):
        """Nothing is sent any more."""

        TOPIC = "SubscriptionDeleted"

        def apply(self, aggregate: "Subscription") -> None:
            """Evolve."""
            aggregate.deleted = True

    @classmethod
    def define(cls, client_ext_id: str, name: str, terms: Terms, *, by: Attribution) -> Self:
        """Begin a subscription."""
        return cls._create(
            cls.SubscriptionDefined,
            id=subscription_stream_id(client_ext_id, name),
            client_ext_id=client_ext_id,
            name=name,
            terms=terms,
            status=Status.ENABLED,
            **vars(by),
        )

    def redefine(self, terms: Terms, *, resealed: bool, by: Attribution) -> None:
        """Replace the terms, or begin again after a deletion; the same again triggers nothing.

        resealed: the URL or the secret are others than before. One that was parked is tried again.
        """
        revived = self.deleted or self.status is Status.PARKED
        if resealed or self.deleted or terms != self.terms:
            self.trigger_event(
                self.SubscriptionDefined,
                originator_topic=self.TOPIC,
                client_ext_id=self.client_ext_id,
                name=self.name,
                terms=terms,
                status=Status.ENABLED if revived else self.status,
                **vars(by),
            )

    def move(self, position: int, *, by: Attribution) -> None:
        """Go on after this position, whatever was sent before."""
        self.trigger_event(self.SubscriptionMoved, position=position, **vars(by))

    def change_status(self, status: Status, *, by: Attribution) -> None:
        """Let sending go on (at once, also where it only waits for its next try), wait or end."""
        if status is not self.status or status is Status.ENABLED:
            self.trigger_event(self.SubscriptionStatusChanged, status=status, **vars(by))

    def delete(self, *, by: Attribution) -> None:
        """Send nothing any more."""
        self.trigger_event(self.SubscriptionDeleted, **vars(by))

    @classmethod
    def restore(
        cls,
        *,
        client_ext_id: str,
        name: str,
        version: int,
        timestamp: datetime,
        terms: Terms,
        status: Status,
        deleted: bool,
    ) -> Self:
        """Rebuild the aggregate as it stood at a version, without its history."""
        aggregate = cls.__new__(cls)
        aggregate.__base_init__(subscription_stream_id(client_ext_id, name), version, timestamp)
        aggregate.client_ext_id, aggregate.name = client_ext_id, name
        aggregate.terms, aggregate.status, aggregate.deleted = terms, status, deleted
        return aggregate
