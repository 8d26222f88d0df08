"""Reads that may be a little old, from a standby: search, histories and the feed.

What they find is what was stored a moment ago, and never less than what the same process has told already: where a
standby is behind that, the primary is asked. It is asked for all else, too, and for everything while no standby
answers, or the one that does falls behind.
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
from application.shared.errors import StoreUnavailable
from application.tickets.find_tickets import PageKey, TicketQuery
from domain.shared.event import Event
from domain.shared.subject import Subject
from domain.tickets.state import TicketState
from domain.users.recipient import Recipient
from interface.outbound.sql.postgres_connections import connection_options
from interface.outbound.sql.postgres_store import Behind, PostgresStandby, PostgresStore

_Found = TypeVar("_Found")

# How long a caller waits for a connection to the standby before it goes to the primary, and all do for a while.
_PATIENCE_SECONDS = 1.0
# How often it is looked whether the standby is there and has what the primary had then: so old is what is found, at most.
_LOOKED_AFTER_EVERY_SECONDS = 5.0
# How long it may take for that. It is a matter of milliseconds.
_CATCHES_UP_WITHIN_SECONDS = 0.5
_ASKED_EVERY_SECONDS = 0.005

log = logging.getLogger(__name__)


class StandbyReads(PostgresStore):
    """A PostgresStore that reads some things elsewhere; see the module.

    url: of one or more standbys, such as `postgresql://…/tickets?target_session_attrs=prefer-standby`.
    """

    def __init__(self, primary: PostgresStore, url: str) -> None:
        vars(self).update(vars(primary))
        self._primary = primary
        self._standby = PostgresStandby(url, _PATIENCE_SECONDS)
        # For each client the largest size of its ledger that anybody was told.
        self._told: dict[str, int] = {}
        self._looked_after_at = self._left_alone_until = -math.inf
        self._failing = False

    def events_of(self, stream: UUID) -> Sequence[Event]:
        """Return every event of a stream, oldest first."""
        return self._found(lambda store: store.events_of(stream)) or self._primary.events_of(stream)

    def list_recipients(self, client_ext_id: str, after: str, limit: int) -> Sequence[Recipient]:
        """Return the next users of a client, by their ids."""
        return self._found(lambda store: store.list_recipients(client_ext_id, after, limit))

    def find_tickets(self, query: TicketQuery, after: PageKey | None, limit: int) -> Sequence[TicketState]:
        """Return the next tickets that fit, in the query's order."""
        return self._found(lambda store: store.find_tickets(query, after, limit))

    def search(self, query: HistoryQuery, after: int, limit: int) -> Sequence[LedgerEntry]:
        """Return the next entries by position that fit."""
        return self._found(lambda store: store.search(query, after, limit))

    def entries_of(self, subject: Subject, stream: UUID, after: int, limit: int) -> Sequence[LedgerEntry]:
        """Return the next entries of a stream by version."""
        found = self._found(lambda store: store.entries_of(subject, stream, after, limit))
        # What is not there yet looks like what never was.
        return found if found or after else self._primary.entries_of(subject, stream, after, limit)

    def sizes_of(self, client_ext_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the size of the ledgers of these clients: what the standby has, once it is what the primary has."""
        wanted = self._primary.sizes_of(client_ext_ids)
        sizes: Mapping[str, int] = {}

        def caught_up() -> bool:
            nonlocal sizes
            sizes = self._found(lambda store: store.sizes_of(client_ext_ids))
            return all(sizes.get(client, 0) >= size for client, size in wanted.items())

        if not _in_time(caught_up):
            self._leave_alone("it is behind")
            sizes = wanted
        for client, size in sizes.items():
            self._told[client] = max(size, self._told.get(client, 0))
        return sizes

    def newest_of_topics(self, client_ext_id: str, topics: Sequence[str], end: int) -> int:
        """Return the newest position of these topics, up to and with `end`; 0 where there is none."""
        return self._found(
            lambda store: store.newest_of_topics(client_ext_id, topics, end), client_ext_id, end
        )

    def entries(self, client_ext_id: str, after: int, limit: int) -> Sequence[LedgerEntry]:
        """Return the next entries by position."""
        told = max(after, self._told.get(client_ext_id, 0))
        return self._found(lambda store: store.entries(client_ext_id, after, limit), client_ext_id, told)

    def entries_of_topics(
        self, client_ext_id: str, topics: Sequence[str], after: int, limit: int
    ) -> Sequence[LedgerEntry]:
        """Return the next entries of these topics by position."""
        told = max(after, self._told.get(client_ext_id, 0))
        return self._found(
            lambda store: store.entries_of_topics(client_ext_id, topics, after, limit), client_ext_id, told
        )

    def close(self) -> None:
        """Close the connections to the standby; those to the primary are not this one's."""
        self._standby.close()

    def _found(
        self, read: Callable[[PostgresStore], _Found], client_ext_id: str = "", position: int = 0
    ) -> _Found:
        """Read from the standby, if it has this position of the client's ledger; else from the primary."""
        if self._is_usable():
            try:
                return read(self._standby.having(client_ext_id, position) if position else self._standby)
            except StoreUnavailable as error:
                self._leave_alone(str(error))
            except Behind:
                pass
        return read(self._primary)

    def _is_usable(self) -> bool:
        now = time.monotonic()
        if now < self._left_alone_until:
            return False
        if now < self._looked_after_at + _LOOKED_AFTER_EVERY_SECONDS:
            return True
        # One looks; meanwhile the others do what was right before.
        if self._failing:
            self._left_alone_until = now + _LOOKED_AFTER_EVERY_SECONDS
        else:
            self._looked_after_at = now
        try:
            place = self._primary.place()
        except StoreUnavailable:
            return True  # the standby is all there is now
        try:
            if not _in_time(lambda: self._standby.has(place)):
                self._leave_alone("it is behind")
                return False
        except StoreUnavailable as error:
            self._leave_alone(str(error))
            return False
        if self._failing:
            log.info("reading from the standby again")
        self._failing, self._left_alone_until, self._looked_after_at = False, -math.inf, now
        return True

    def _leave_alone(self, reason: str) -> None:
        if not self._failing:
            log.warning("reading from the primary for now, not from the standby: %s", reason)
        self._failing, self._left_alone_until = True, time.monotonic() + _LOOKED_AFTER_EVERY_SECONDS


class OutboxStatus(NamedTuple):
    """How a standby is. behind: bytes of the primary's log that it has not applied; None where that cannot be told."""

    takes_writes: bool
    has_tables: bool
    behind: int | None


def standby_status_at(url: str, primary_url: str) -> OutboxStatus:
    """Ask a standby how it is, once it had the time to catch up that the reads give it. Raises StoreUnavailable."""
    place = _place_at(primary_url)
    try:
        with closing(psycopg.connect(**connection_options(url), autocommit=True)) as connection:
            found = OutboxStatus(True, True, None)

            def caught_up() -> bool:
                nonlocal found
                row = connection.execute(_STANDING, {"place": place}).fetchone()
                found = OutboxStatus(*row) if row else found
                return found.takes_writes or not found.behind

            _in_time(caught_up)
            return found
    except psycopg.Error as error:
        raise StoreUnavailable(f"the standby cannot be asked: {error}") from error


_STANDING = """
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


def _in_time(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _CATCHES_UP_WITHIN_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_ASKED_EVERY_SECONDS)
    return True
