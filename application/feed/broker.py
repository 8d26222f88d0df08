"""The ports of publishing: a broker, and the stored position of each client."""

from collections.abc import Sequence
from typing import Protocol

from application.feed.feed_event import FeedEvent
from application.record.eras import EventId


class BrokerUnavailable(Exception):
    """The broker is unreachable, rejects a message, or has not acknowledged it in time."""


class OutOfSync(Exception):
    """The broker's newest event of a client is not the last published one; the position must be read again."""


class Broker(Protocol):
    """A message broker. Every method except close raises BrokerUnavailable."""

    async def connect(self) -> None:
        """Connect, or reconnect after a failure."""

    async def newest(self, client_ext_id: str) -> EventId | None:
        """Return the newest stored event of a client; None: unknown."""

    async def publish(self, client_ext_id: str, events: Sequence[FeedEvent]) -> None:
        """Publish consecutive events and wait until the broker has acknowledged all of them.

        After a failure some may be stored, but none without its predecessors of the same credential. Raises OutOfSync.
        """

    async def close(self) -> None:
        """Close the connection."""


class Cursor(Protocol):
    """The last published event of each client, stored durably."""

    def last(self, client_ext_id: str) -> EventId:
        """Return the last published event; position 0: none."""

    def move(self, client_ext_id: str, event: EventId) -> None:
        """Set the last published event."""

    def keep(self) -> None:
        """Write the changes to disk. Raises StoreUnavailable."""
