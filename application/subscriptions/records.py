"""Subscriptions as commands see them: the state, how far it got, and the sealed target."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, Self, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from application.transaction.records import Load, RecordSet
from application.transaction.unit_of_work import UnitOfWork
from domain.shared.event import Event
from domain.shared.secret import Secret
from domain.shared.subject import Subject
from domain.subscriptions.subscription import Subscription, SubscriptionKey, SubscriptionState

# How long the secret before still signs, too, so that a receiver can change over.
SECRET_OVERLAP = timedelta(hours=24)


class Progress(Struct, frozen=True, kw_only=True):
    """How far a subscriber got; begun anew, but for the position, with each version of the subscription.

    acknowledged: everything up to this position. beyond: positions behind it that are acknowledged, too.
    failures: tries in a row that failed, since `failing_since`.
    """

    acknowledged: int
    beyond: tuple[int, ...] = ()
    last_success: datetime | None = None
    failures: int = 0
    failing_since: datetime | None = None
    last_error: str | None = None
    next_try: datetime | None = None


class SigningSecret(Struct, frozen=True):
    """A secret that signs webhooks, until a moment; None: for good."""

    secret: str
    until: datetime | None = None

    def __repr__(self) -> str:
        return "SigningSecret(***)"


class Target(Struct, frozen=True):
    """Where a subscription goes to, and what proves that it comes from us; kept sealed.

    secrets: the one in force first. authorization: the header that the receiver asks for.
    """

    url: str
    secrets: tuple[SigningSecret, ...] = ()
    authorization: str | None = None

    def __repr__(self) -> str:
        return "Target(***)"

    def rotated(self, secret: str, now: datetime) -> Self:
        """Return the target with another secret in force; the one before signs, too, for a while."""
        if self.secrets and self.secrets[0].secret == secret:
            return self
        former = tuple(SigningSecret(kept.secret, now + SECRET_OVERLAP) for kept in self.secrets[:1])
        return replace(self, secrets=(SigningSecret(secret), *former))

    def secrets_at(self, now: datetime) -> Sequence[str]:
        """Return the secrets that sign at a moment."""
        return [kept.secret for kept in self.secrets if kept.until is None or now < kept.until]

    def to_secret(self) -> Secret:
        """Return it as what is sealed."""
        return Secret(msgspec.json.encode(self).decode())

    @staticmethod
    def of_secret(secret: Secret) -> "Target":
        """Return the target behind what was sealed."""
        return msgspec.json.decode(secret.reveal(), type=Target)


class StoredSubscription(NamedTuple):
    """A subscription with all that is stored of it.

    sealed: its Target. moved: it continues after `progress.acknowledged`; else from where the store has it. notice: to be
    sent to its receiver; empty: nothing.
    """

    row: SubscriptionState
    sealed: bytes
    progress: Progress
    moved: bool = False
    notice: str = ""


SUBSCRIPTIONS = RecordSet[SubscriptionKey, StoredSubscription]("subscriptions")
LEDGER_SIZES = RecordSet[str, int]("ledger_sizes")


def subscriptions_of(client_ext_id: str) -> list[Load]:
    """Load every subscription of a client, deleted ones too, and the size of its ledger."""
    return [Load(SUBSCRIPTIONS, (client_ext_id,)), Load(LEDGER_SIZES, (client_ext_id,))]


def ledger_size(unit: UnitOfWork, client_ext_id: str) -> int:
    """Return the position of the client's newest event; 0: there is none."""
    return unit.get(LEDGER_SIZES, client_ext_id) or 0


def save(
    unit: UnitOfWork, subscription: Subscription, sealed: bytes, position: int | None = None, notice: str = ""
) -> StoredSubscription:
    """Store the subscription's events, state and target; return it as it is after them.

    position: after which it continues; None: it does not move. notice: to be sent to its receiver.
    """
    state, events = subscription.current, cast("list[Event]", subscription.collect_events())
    known = unit.get(SUBSCRIPTIONS, state.key)
    if known and not events:
        return known
    reached = known.progress.acknowledged if known and position is None else position or 0
    progress = Progress(acknowledged=reached, last_success=known.progress.last_success if known else None)
    moved = position is not None or (known is not None and known.moved)
    subscribed = StoredSubscription(state, sealed, progress, moved, notice)
    unit.append(events, Subject(state.client_ext_id))
    unit.put(SUBSCRIPTIONS, state.key, subscribed)
    return subscribed


@dataclass(frozen=True)
class SubscriptionHead:
    """What tells whether there is something new to do for a subscription.

    notice: what is still to be said about it to its receiver; empty: nothing.
    """

    key: SubscriptionKey
    version: int
    notice: str


def sealed_for(key: SubscriptionKey) -> str:
    """Return what the target of a subscription is bound to."""
    return f"subscription {key.client_ext_id}\x1f{key.name}"


class Subscriptions(Protocol):
    """How far the subscribers got; the other side of `Changes.subscriptions`. Every method raises StoreUnavailable."""

    def list_subscriptions(self, client_ext_id: str) -> Sequence[StoredSubscription]:
        """Return every subscription of a client that is not deleted, by name."""

    def subscription(self, key: SubscriptionKey) -> StoredSubscription | None:
        """Return a subscription; None where there is none, or it is deleted."""

    def subscription_heads(self) -> Sequence[SubscriptionHead]:
        """Return the heads of all subscriptions that are pushed: those that are enabled, and are not polled."""

    def save_progress(self, kept: Sequence[tuple[SubscriptionKey, int, Progress]]) -> None:
        """Keep how far subscribers got, each unless the subscription has another version by now."""

    def save_notice(self, key: SubscriptionKey, notice: str) -> None:
        """Keep what is still to be said about a subscription to its receiver, in the place of what was before."""

    def delete_notice(self, key: SubscriptionKey, notice: str) -> None:
        """Forget it."""

    def notice(self, key: SubscriptionKey) -> str:
        """Return what is still to be said; empty: nothing."""

    def subscription_seals(
        self, after: SubscriptionKey | None, limit: int
    ) -> Sequence[tuple[SubscriptionKey, bytes]]:
        """Return what is sealed of the next subscriptions of all, by key; of those that are deleted nothing."""

    def reseal_subscription(self, key: SubscriptionKey, former: bytes, sealed: bytes) -> None:
        """Put another seal in the place of the former one, if that is still there."""
