"""The store, as the transaction needs it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol
from uuid import UUID

from application.transaction.records import Changes, Load, LoadedState
from domain.shared.event import Event


class Lease(Protocol):
    """A name that this process holds."""

    def holds(self) -> bool:
        """Return whether it still does: a store that was out of reach may have given it to another process."""


class Store(Protocol):
    """Where events are stored, and the rows that change with them.

    lookup_is_nonblocking: a look-up by key takes microseconds and waits for nothing, so it needs no thread.
    """

    @property
    def lookup_is_nonblocking(self) -> bool:
        """Return it."""

    def load(self, loads: Sequence[Load]) -> LoadedState:
        """Return the committed rows. Raises StoreUnavailable."""

    def commit(self, changes: Changes) -> None:
        """Store all of it durably, or nothing.

        Raises Conflict where another process has stored one of these versions or answers already, and
        StoreUnavailable, after which it is unknown whether the changes were stored.
        """

    def events_of(self, stream: UUID) -> Sequence[Event]:
        """Return every event of a stream, oldest first. Raises StoreUnavailable."""

    def lease(self, name: str) -> AbstractContextManager["Lease | None"]:
        """Hold a name that one process at a time can hold, until it lets go or dies; None: another holds it."""

    def is_empty(self) -> bool:
        """Return whether nothing was ever stored."""

    def close(self) -> None:
        """Close connections and files."""
