"""Reads from a standby, which may be slightly stale: search, histories and the feed.

A read never returns less than the same process has returned before: if the standby lags behind that, the primary is
read. The primary also serves all other reads, and all reads while the standby is unavailable or lags too much.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple, TypeVar
from uuid import UUID

import psycopg

from application.record.ledger import HistoryQuery, LedgerEntry
from application.shared.errors import RowRefused, StoreUnavailable
from application.tickets.find_tickets import PageKey, TicketQuery
from domain.shared.event import Event
from domain.shared.subject import Subject
from domain.tickets.state import TicketState
from domain.users.recipient import Recipient
from interface.outbound.sql.postgres_connections import connection_options, open_datastore
from interface.outbound.sql.postgres_store import Behind, Connections, PostgresStandby, PostgresStore

_Found = TypeVar("_Found")

# The time limit for getting a connection to the standby; after it, reads use the primary for a while.
_PATIENCE_SECONDS = 1.0
# The interval of checks that the standby has replayed the primary's current position, which limits the staleness.
_CHECK_INTERVAL_SECONDS = 5.0
# The time limit for catching up with that position, which normally takes milliseconds.
_CATCH_UP_SECONDS = 0.5
_POLL_SECONDS = 0.005

log = logging.getLogger(__name__)


class StandbyReads(PostgresStore):
    """A PostgresStore with some reads from a standby; see the module.

    url: of one or more standbys, such as `postgresql://…/tickets?target_session_attrs=prefer-standby`.
    """

    def __init__(self, primary: PostgresStore, url: str) -> None:
        self._use(primary.connections, primary.tables)
        self._primary = primary
        connections = Connections.to(url, open_datastore(url, primary.search_path, _PATIENCE_SECONDS))
        self._standby = PostgresStandby(connections, primary.tables)
        # The largest returned ledger size of each client.
        self._returned_sizes: dict[str, int] = {}
        self._checked_at = self._suspended_until = -math.inf
        self._failing = False

    def events_of(self, stream: UUID) -> Sequence[Event]:
        """Return every event of a stream, oldest first."""
        return self._read(lambda store: store.events_of(stream)) or self._primary.events_of(stream)

    def list_recipients(self, client_ext_id: str, after: str, limit: int) -> Sequence[Recipient]:
        """Return the next users of a client, by their ids."""
        return self._read(lambda store: store.list_recipients(client_ext_id, after, limit))

    def find_tickets(self, query: TicketQuery, after: PageKey | None, limit: int) -> Sequence[TicketState]:
        """Return the next matching tickets, in the query's order."""
        return self._read(lambda store: store.find_tickets(query, after, limit))

    def search(self, query: HistoryQuery, after: int, limit: int) -> Sequence[LedgerEntry]:
        """Return the next matching entries by position."""
        return self._read(lambda store: store.search(query, after, limit))

    def entries_of(self, subject: Subject, stream: UUID, after: int, limit: int) -> Sequence[LedgerEntry]:
        """Return the next entries of a stream by version."""
        found = self._read(lambda store: store.entries_of(subject, stream, after, limit))
        # The standby cannot distinguish a missing stream from one that it has not replayed yet.
        return found if found or after else self._primary.entries_of(subject, stream, after, limit)

    def naming_entries(self, client_ext_id: str, streams: Sequence[UUID], end: int) -> Sequence[LedgerEntry]:
        """Return the first entry of each stream, and each further creation of a ticket, up to a position."""
        return self._read(lambda store: store.naming_entries(client_ext_id, streams, end), client_ext_id, end)

    def sizes_of(self, client_ext_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the ledger sizes of these clients, after the standby has caught up with those of the primary."""
        wanted = self._primary.sizes_of(client_ext_ids)
        sizes: Mapping[str, int] = {}

        def caught_up() -> bool:
            nonlocal sizes
            sizes = self._read(lambda store: store.sizes_of(client_ext_ids))
            return all(sizes.get(client, 0) >= size for client, size in wanted.items())

        if not _wait_until(caught_up):
            self._suspend("it is behind")
            sizes = wanted
        for client, size in sizes.items():
            self._returned_sizes[client] = max(size, self._returned_sizes.get(client, 0))
        return sizes

    def newest_of_topics(self, client_ext_id: str, topics: Sequence[str], end: int) -> int:
        """Return the newest position of these topics, up to and including `end`; 0 without one."""
        return self._read(
            lambda store: store.newest_of_topics(client_ext_id, topics, end), client_ext_id, end
        )

    def entries(self, client_ext_id: str, after: int, limit: int) -> Sequence[LedgerEntry]:
        """Return the next entries by position."""
        least = max(after, self._returned_sizes.get(client_ext_id, 0))
        return self._read(lambda store: store.entries(client_ext_id, after, limit), client_ext_id, least)

    def entries_of_topics(
        self, client_ext_id: str, topics: Sequence[str], after: int, limit: int
    ) -> Sequence[LedgerEntry]:
        """Return the next entries of these topics by position."""
        least = max(after, self._returned_sizes.get(client_ext_id, 0))
        return self._read(
            lambda store: store.entries_of_topics(client_ext_id, topics, after, limit), client_ext_id, least
        )

    def close(self) -> None:
        """Close the connections to the standby; the primary store closes its own."""
        self._standby.close()

    def _read(
        self, read: Callable[[PostgresStore], _Found], client_ext_id: str = "", position: int = 0
    ) -> _Found:
        """Read from the standby if it has this position of the client's ledger, otherwise from the primary."""
        if self._is_usable():
            try:
                return read(self._standby.having(client_ext_id, position) if position else self._standby)
            except StoreUnavailable as error:
                self._suspend(str(error))
            except (Behind, RowRefused):
                pass  # of several standbys, the next one may lack events of a row without a seal
        return read(self._primary)

    def _is_usable(self) -> bool:
        now = time.monotonic()
        if now < self._suspended_until:
            return False
        if now < self._checked_at + _CHECK_INTERVAL_SECONDS:
            return True
        # One thread checks; meanwhile the others use the result of the last check.
        if self._failing:
            self._suspended_until = now + _CHECK_INTERVAL_SECONDS
        else:
            self._checked_at = now
        try:
            place = self._primary.place()
        except StoreUnavailable:
            return True  # only the standby is left
        try:
            if not _wait_until(lambda: self._standby.has(place)):
                self._suspend("it is behind")
                return False
        except StoreUnavailable as error:
            self._suspend(str(error))
            return False
        if self._failing:
            log.info("reading from the standby again")
        self._failing, self._suspended_until, self._checked_at = False, -math.inf, now
        return True

    def _suspend(self, reason: str) -> None:
        if not self._failing:
            log.warning("reading from the primary instead of the standby for now: %s", reason)
        self._failing, self._suspended_until = True, time.monotonic() + _CHECK_INTERVAL_SECONDS


class StandbyStatus(NamedTuple):
    """The status of a standby. behind: bytes of the primary's WAL that it has not replayed; None: unknown."""

    takes_writes: bool
    has_tables: bool
    behind: int | None


def standby_status_at(url: str, primary_url: str) -> StandbyStatus:
    """Return the status of a standby after the time that reads give it to catch up. Raises StoreUnavailable."""
    place = _place_at(primary_url)
    try:
        with closing(psycopg.connect(**connection_options(url), autocommit=True)) as connection:
            found = StandbyStatus(True, True, None)

            def caught_up() -> bool:
                nonlocal found
                row = connection.execute(_STATUS, {"place": place}).fetchone()
                found = StandbyStatus(*row) if row else found
                return found.takes_writes or not found.behind

            _wait_until(caught_up)
            return found
    except psycopg.Error as error:
        raise StoreUnavailable(f"the standby is unavailable: {error}") from error


_STATUS = """
SELECT NOT pg_is_in_recovery(), to_regclass('ticket_events') IS NOT NULL,
       CASE WHEN pg_is_in_recovery()
            THEN greatest(0, pg_wal_lsn_diff(%(place)s::text::pg_lsn, pg_last_wal_replay_lsn()))::bigint END
"""


def _place_at(primary_url: str) -> str | None:
    try:
        with closing(psycopg.connect(**connection_options(primary_url), autocommit=True)) as connection:
            row = connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()
            return str(row[0]) if row else None
    except psycopg.Error:
        return None


def _wait_until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
