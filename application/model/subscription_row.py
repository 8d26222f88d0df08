"""The read model of a subscription, how far it got, and where it goes to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from domain.shared.secret import Secret
from domain.subscriptions.subscription import SubscriptionKey, SubscriptionState

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


class Subscribed(NamedTuple):
    """A subscription with all that is kept of it. sealed: its Target."""

    row: SubscriptionState
    sealed: bytes
    progress: Progress


class SubscriptionChange(NamedTuple):
    """A subscription to store. moved: it goes on from `progress.acknowledged`, else from where it stands.

    notice: what is still to be said about it to its receiver.
    """

    subscribed: Subscribed
    moved: bool
    notice: str = ""


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
