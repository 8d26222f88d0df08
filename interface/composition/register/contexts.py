"""The ports and services that the capabilities use in their handlers and routes."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from application.delivery.enqueue import enqueue_delivery
from application.feed.live_feed import LiveFeed
from application.operations.readiness import Readiness
from application.shared.ports import Clock, Randomness, Sealer
from application.tickets.records import Enqueue
from application.transaction.command import Answer, Command
from application.transaction.group_commit import Handler
from interface.http.core.room import Room
from interface.outbound.keys.ledger_keys import LedgerKeys
from interface.outbound.keys.set_keys import SetKeys
from interface.outbound.sql.sqlite_store import SqliteStore
from interface.outbound.sql.table import Table
from interface.settings import Settings

if TYPE_CHECKING:
    from interface.outbound.sql.postgres_store import PostgresStore

Handlers = Mapping[type[Command], Handler]


@dataclass(frozen=True)
class HandlerContext:
    """The ports and settings that handlers need."""

    clock: Clock
    randomness: Randomness
    sealer: Sealer
    settings: Settings

    @property
    def enqueue(self) -> Enqueue:
        """Queues a newly minted ticket for delivery."""
        return self.bind(enqueue_delivery)

    def bind(self, function: Callable[..., Any]) -> "partial[Any]":
        """Bind each keyword-only parameter, once at the start, to the port or else the setting of that name.

        Raises AttributeError if there is neither.
        """
        parameters = signature(function).parameters.values()
        wanted = [found.name for found in parameters if found.kind is Parameter.KEYWORD_ONLY]
        return partial(
            function,
            **{name: getattr(self if hasattr(self, name) else self.settings, name) for name in wanted},
        )


@dataclass(frozen=True)
class RouteContext:
    """The services over which the rooms of the HTTP edge are registered. reads: for searches; may lag slightly."""

    settings: Settings
    store: "SqliteStore | PostgresStore"
    reads: "SqliteStore | PostgresStore"
    live: LiveFeed
    signer: LedgerKeys
    set_keys: SetKeys
    sealer: Sealer
    clock: Clock
    randomness: Randomness
    readiness: Callable[[], Awaitable[Readiness]]
    exposition: Callable[[], bytes]


@dataclass(frozen=True, kw_only=True)
class Capability:
    """The registration of a capability: the handlers of its commands, the tables of its record sets, its HTTP room.

    permissions: declared by the room, and listed by `tickets token`.
    """

    handlers: Mapping[type[Command], Callable[..., Answer]] = field(default_factory=dict)
    tables: Sequence[Table[Any, Any]] = ()
    room: Callable[[RouteContext], Room] | None = None
    permissions: Sequence[str] = ()
