"""The ports of pushing: senders of messages, and the parts that every worker shares."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple, Protocol

from application.feed.feed import Batch
from application.feed.live_feed import LiveFeed
from application.shared.ports import Clock, Sealer
from application.shared.retries import Retries
from application.subscriptions.records import StoredSubscription, Subscriptions, Target, sealed_for
from domain.subscriptions.subscription import Method, SubscriptionKey


class Message(NamedTuple):
    """A message. id: identical in every retry."""

    id: str
    content: bytes
    media_type: str


class DeliveryRejected(Exception):
    """The receiver did not accept a message. The subscriber sees the error message, so it contains no secret.

    gone: the receiver will never accept a message. retry_after: the minimum delay that the receiver requests.
    """

    def __init__(self, message: str, *, gone: bool = False, retry_after: timedelta = timedelta()) -> None:
        super().__init__(message)
        self.gone = gone
        self.retry_after = retry_after


class Sender(Protocol):
    """Sends messages by one method."""

    def compose(self, subscribed: StoredSubscription, batch: Batch) -> Message:
        """Return the message with these events; the batch is not empty."""

    async def send(self, target: Target, message: Message) -> None:
        """Send a message and wait until it is accepted. Raises DeliveryRejected."""


@dataclass(frozen=True)
class PushPorts:
    """The ports of pushing. park: parks a subscription for a reason, if it still has this version."""

    subscriptions: Subscriptions
    live: LiveFeed
    sealer: Sealer
    senders: Mapping[Method, Sender]
    park: Callable[[SubscriptionKey, int, str], Awaitable[object]]
    retries: Retries
    clock: Clock

    def open_target(self, subscribed: StoredSubscription) -> Target:
        """Return the target of a subscription. Raises SealBroken."""
        return Target.of_secret(self.sealer.unseal(subscribed.sealed, sealed_for(subscribed.row.key)))


def label(key: SubscriptionKey) -> str:
    """Return the name of a subscription in log messages."""
    return f"subscription {key.name!r} of client {key.client_ext_id!r}"
