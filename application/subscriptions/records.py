"""The record set of subscriptions: state, progress and sealed target."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, Self, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from application.transaction.records import DerivedRecords, Load, RecordSet
from application.transaction.unit_of_work import UnitOfWork
from domain.shared.errors import Kind, Refusal
from domain.shared.event import Event
from domain.shared.secret import Secret
from domain.shared.subject import Subject
from domain.subscriptions.subscription import Subscription, SubscriptionKey, SubscriptionState

# The period in which the previous secret also signs, so that a receiver can switch.
SECRET_OVERLAP = timedelta(hours=24)


class SubscriptionNotFound(Refusal):
    """The client has no such subscription."""

    CODE = "SubscriptionUnknown"
    KIND = Kind.NOT_FOUND


class TooManySubscriptions(Refusal):
    """The client or the caller has reached the maximum number of subscriptions or streams."""

    CODE = "TooManySubscriptions"
    KIND = Kind.LIMIT


class TargetRefused(Refusal):
    """The URL of a subscription is not allowed."""

    CODE = "TargetRefused"


class Progress(Struct, frozen=True, kw_only=True):
    """The progress of a subscription; each version of the subscription resets all fields except the position.

    acknowledged: every event up to this position is acknowledged. beyond: acknowledged positions after it.
    failures: consecutive failures since `failing_since`.
    """

    acknowledged: int
    beyond: tuple[int, ...] = ()
    last_success: datetime | None = None
    failures: int = 0
    failing_since: datetime | None = None
    last_error: str | None = None
    next_try: datetime | None = None


class SigningSecret(Struct, frozen=True):
    """A secret that signs webhooks until a time; None: indefinitely."""

    secret: str
    until: datetime | None = None

    def __repr__(self) -> str:
        return "SigningSecret(***)"


class Target(Struct, frozen=True):
    """The target of a subscription and its secrets; stored sealed.

    secrets: the active one first. authorization: the value of the Authorization header.
    """

    url: str
    secrets: tuple[SigningSecret, ...] = ()
    authorization: str | None = None

    def __repr__(self) -> str:
        return "Target(***)"

    def rotated(self, secret: str, now: datetime) -> Self:
        """Return the target with a new active secret; the previous one also signs for SECRET_OVERLAP."""
        if self.secrets and self.secrets[0].secret == secret:
            return self
        former = tuple(SigningSecret(kept.secret, now + SECRET_OVERLAP) for kept in self.secrets[:1])
        return replace(self, secrets=(SigningSecret(secret), *former))

    def secrets_at(self, now: datetime) -> Sequence[str]:
        """Return the secrets that sign at a given time."""
        return [kept.secret for kept in self.secrets if kept.until is None or now < kept.until]

    def to_secret(self) -> Secret:
        """Return the encoded target, to be sealed."""
        return Secret(msgspec.json.encode(self).decode())

    @staticmethod
    def of_secret(secret: Secret) -> "Target":
        """Decode an unsealed target."""
        return msgspec.json.decode(secret.reveal(), type=Target)


class StoredSubscription(NamedTuple):
    """The stored data of a subscription.

    sealed: the Target. moved: store `progress.acknowledged`; otherwise the stored position is kept. notice: to be sent to
    the receiver; empty: none.
    """

    row: SubscriptionState
    sealed: bytes
    progress: Progress
    moved: bool = False
    notice: str = ""


SUBSCRIPTIONS = DerivedRecords[SubscriptionKey, StoredSubscription](
    "subscriptions", Subscription, "subscription"
)
LEDGER_SIZES = RecordSet[str, int]("ledger_sizes")


def subscriptions_of(client_ext_id: str) -> list[Load]:
    """Load every subscription of a client, including deleted ones, and the size of its ledger."""
    return [Load(SUBSCRIPTIONS, (client_ext_id,)), Load(LEDGER_SIZES, (client_ext_id,))]


def ledger_size(unit: UnitOfWork, client_ext_id: str) -> int:
    """Return the position of the client's newest event; 0: the ledger is empty."""
    return unit.get(LEDGER_SIZES, client_ext_id) or 0


def save(
    unit: UnitOfWork, subscription: Subscription, sealed: bytes, position: int | None = None, notice: str = ""
) -> StoredSubscription:
    """Store the pending events, the state and the target; return the stored data.

    position: the new position; None: unchanged. notice: to be sent to the receiver.
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
    """The data that the pusher polls. notice: to be sent to the receiver; empty: none."""

    key: SubscriptionKey
    version: int
    notice: str


def sealed_for(key: SubscriptionKey) -> str:
    """Return the context to which the seal of a target is bound."""
    return f"subscription {key.client_ext_id}\x1f{key.name}"


def not_found(key: SubscriptionKey) -> SubscriptionNotFound:
    """Return the error for a missing subscription."""
    return SubscriptionNotFound(f"Client {key.client_ext_id!r} has no subscription {key.name!r}.")


class Subscriptions(Protocol):
    """The subscriptions in the store. Every method raises StoreUnavailable."""

    def list_subscriptions(self, client_ext_id: str) -> Sequence[StoredSubscription]:
        """Return the subscriptions of a client, without deleted ones, sorted by name."""

    def subscription(self, key: SubscriptionKey) -> StoredSubscription | None:
        """Return a subscription; None: it does not exist or is deleted."""

    def subscription_heads(self) -> Sequence[SubscriptionHead]:
        """Return the heads of all enabled push subscriptions."""

    def save_progress(self, kept: Sequence[tuple[SubscriptionKey, int, Progress]]) -> None:
        """Save the progress of subscriptions whose version is unchanged."""

    def save_notice(self, key: SubscriptionKey, notice: str) -> None:
        """Set the notice to send to the receiver; replaces a former one."""

    def delete_notice(self, key: SubscriptionKey, notice: str) -> None:
        """Delete the notice, unless it has changed."""

    def notice(self, key: SubscriptionKey) -> str:
        """Return the notice; empty: none."""

    def subscription_seals(
        self, after: SubscriptionKey | None, limit: int
    ) -> Sequence[tuple[SubscriptionKey, bytes]]:
        """Return the next sealed targets of all clients, sorted by key, without deleted subscriptions."""

    def reseal_subscription(self, key: SubscriptionKey, former: bytes, sealed: bytes) -> None:
        """Replace the sealed target, unless it has changed."""
