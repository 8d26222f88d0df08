"""The port of the store."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from application.transaction.known_rows import KnownLoad
from application.transaction.records import Changes, Load, LoadedState, RecordSet
from domain.shared.event import Event


class Lease(Protocol):
    """A lease on a name."""

    def holds(self) -> bool:
        """Return whether this process still holds the lease; it may be lost while the store is unreachable."""


class Store(Protocol):
    """The store of events and rows."""

    @property
    def lookup_is_nonblocking(self) -> bool:
        """Whether `load` takes microseconds and never waits, so that it needs no thread."""

    def load(self, loads: Sequence[Load]) -> LoadedState:
        """Return the committed rows. Raises StoreUnavailable."""

    def commit(self, changes: Changes) -> None:
        """Store the changes durably and atomically.

        Raises Conflict if another process has already stored one of these versions or answers, and StoreUnavailable,
        after which it is unknown whether the changes were stored.
        """

    def commit_if_free(self, changes: Changes) -> bool:
        """Store the changes like `commit`, unless it would wait for another writer: False, and nothing was stored."""

    def events_of(self, stream: UUID) -> Sequence[Event]:
        """Return every event of a stream, oldest first. Raises StoreUnavailable."""

    def lease(self, name: str) -> AbstractContextManager["Lease | None"]:
        """Hold an exclusive lease until the context exits or the process dies; None: another process holds it."""

    def is_empty(self) -> bool:
        """Return whether the store contains no data."""

    def close(self) -> None:
        """Close connections and files."""


@runtime_checkable
class StoreOnLoop(Protocol):
    """A store whose calls can wait on the event loop instead of a thread."""

    @property
    def checkable(self) -> Mapping[RecordSet[Any, Any], bool]:
        """The record sets whose rows a commit can check; see KnownRows."""

    async def load_on_loop(self, loads: Sequence[Load]) -> LoadedState:
        """Return the committed rows. Raises StoreUnavailable."""

    async def commit_on_loop(self, changes: Changes, known: Sequence[KnownLoad] = ()) -> None:
        """Do the same as `commit` of the store, if these rows are unchanged; otherwise raise Conflict.

        known: only with an event of each client whose rows are checked.
        """
