"""The ports and services that the capabilities use in their handlers and routes."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from application.feed.live_feed import LiveFeed
from application.operations.readiness import Readiness
from application.record.checkpoint import Signer
from application.shared.ports import Clock, Randomness, Sealer
from application.transaction.command import Command
from application.transaction.group_commit import Handler
from interface.http.core.room import Room
from interface.outbound.keys.set_keys import SetKeys
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from interface.outbound.sql.table import Table
from interface.settings import Settings

Handlers = Mapping[type[Command], Handler]


@dataclass(frozen=True)
class Tools:
    """The ports that handlers need. private_hosts: hosts to which subscriptions may be sent by plain HTTP."""

    clock: Clock
    randomness: Randomness
    sealer: Sealer
    private_hosts: Collection[str]


@dataclass(frozen=True)
class Edge:
    """The services over which the rooms of the HTTP edge are registered. reads: for searches; may lag slightly."""

    settings: Settings
    store: SqliteStore | PostgresStore
    reads: SqliteStore | PostgresStore
    live: LiveFeed
    signer: Signer
    set_keys: SetKeys
    sealer: Sealer
    clock: Clock
    randomness: Randomness
    readiness: Callable[[], Awaitable[Readiness]]
    exposition: Callable[[], bytes]


@dataclass(frozen=True, kw_only=True)
class Capability:
    """The registration of a capability: the handlers of its commands, the tables of its record sets, its HTTP room."""

    handlers: Callable[[Tools], Handlers] = lambda _: {}
    tables: Sequence[Table[Any, Any]] = ()
    room: Callable[[Edge], Room] | None = None
