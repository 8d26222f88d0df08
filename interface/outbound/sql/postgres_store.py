"""The store for more than one process or machine: PostgreSQL."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import psycopg
from eventsourcing.persistence import (
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    StoredEvent,
)
from eventsourcing.postgres import PostgresApplicationRecorder
from psycopg.rows import tuple_row

from application.shared.errors import Conflict, StoreUnavailable
from application.transaction.command import CommandKey, DeliveryKey
from application.transaction.ports import Changes, Erasure, Expiry, Known, Place, TicketQuery
from domain.policies.policy_definition import PolicyKey
from domain.record.access_log import access_stream_id
from domain.shared.event import Event
from domain.shared.subject import Subject
from domain.tickets.state import TicketState
from domain.tickets.ticket_credential import stream_id
from domain.users.recipient import Recipient
from interface.outbound.sql import postgres_schema, schema
from interface.outbound.sql.figures_tables import SqlFigures
from interface.outbound.sql.ledger_tables import SqlLedger
from interface.outbound.sql.outbox_tables import (
    FAIL,
    RETRY,
    SqlOutbox,
    failed_columns,
    key_columns,
    outbox_columns,
)
from interface.outbound.sql.postgres_connections import (
    Connection,
    connection_options,
    on_the_standby_too,
    open_datastore,
)
from interface.outbound.sql.records import (
    EXPIRING,
    JsonMapper,
    Records,
    Row,
    expiring_parameters,
    ticket_conditions,
    to_answer,
    to_policy,
    to_recipient,
    to_records,
    to_ticket,
)
from interface.outbound.sql.subscription_tables import (
    OF_CLIENT,
    UPSERT,
    SqlSubscriptions,
    subscription_columns,
    to_subscribed,
)

_TOLD_EVERY_SECONDS = 1

# One statement and no pipeline: the protocol of a round trip costs more than what it asks for.
_LOOK_UP = """
SELECT 'ticket', client_ext_id, user_ext_id, row FROM tickets
JOIN unnest(%(clients)s::text[], %(users)s::text[]) AS wanted (client_ext_id, user_ext_id)
USING (client_ext_id, user_ext_id)
UNION ALL
SELECT 'recipient', client_ext_id, user_ext_id, row FROM recipients
JOIN unnest(%(clients)s::text[], %(users)s::text[]) AS wanted (client_ext_id, user_ext_id)
USING (client_ext_id, user_ext_id)
UNION ALL
SELECT 'policy', client_ext_id, policy_ext_id, row FROM policies WHERE client_ext_id = ANY(%(clients)s::text[])
UNION ALL
SELECT 'access', log.client_ext_id, max(version)::text, NULL FROM ledger
JOIN unnest(%(log_clients)s::text[], %(logs)s::uuid[]) AS log (client_ext_id, stream)
ON ledger.client_ext_id = log.client_ext_id AND ledger.stream = log.stream GROUP BY log.client_ext_id
"""
_SELECT_ANSWERS = """
UNION ALL
SELECT 'answer', client_ext_id, command_id, row FROM answers
JOIN unnest(%(key_clients)s::text[], %(keys)s::text[]) AS wanted (client_ext_id, command_id)
USING (client_ext_id, command_id)
"""
_OF_CLIENT = OF_CLIENT.replace("?", "%s")
_SELECT_SIZE = "SELECT size FROM ledger_sizes WHERE client_ext_id = %s"
_UPSERT_SUBSCRIPTION = UPSERT.replace("?", "%s")
_FAIL = FAIL.replace("?", "%s")
_RETRY = RETRY.replace("?", "%s")
_STORE_CHANGES = f"SELECT store_changes({','.join(['%s'] * 29)})"
_UPSERT_POLICIES = """
INSERT INTO policies (client_ext_id, policy_ext_id, version, row)
SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bytea[])
ON CONFLICT (client_ext_id, policy_ext_id) DO UPDATE SET version = excluded.version, row = excluded.row
"""
_ERASE_RECIPIENT = "DELETE FROM recipients WHERE client_ext_id = %s AND user_ext_id = %s AND version = %s"
_UPSERT_RECIPIENT = """
INSERT INTO recipients AS old (client_ext_id, user_ext_id, version, row) VALUES (%s, %s, %s, %s)
ON CONFLICT (client_ext_id, user_ext_id) DO UPDATE SET version = excluded.version, row = excluded.row
WHERE old.version = excluded.version - 1
"""
_END = """
DELETE FROM outbox USING unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[]) AS done (client, credential, ticket, events)
WHERE (client_ext_id, stream, version, so_far) = (client, credential, ticket, events)
"""
_LOOK_UP_DELIVERY = """
UNION ALL
SELECT 'delivery', client_ext_id, stream || '-' || version, so_far::text::bytea FROM outbox
JOIN unnest(%(delivery_clients)s::text[], %(streams)s::text[], %(versions)s::bigint[])
    AS wanted (client_ext_id, stream, version) USING (client_ext_id, stream, version)
"""


class PostgresStore(SqlLedger, SqlSubscriptions, SqlOutbox, SqlFigures):
    """Implements the ports Store, Subscriptions and Outbox; see there for what the methods promise.

    url: as libpq takes it, `postgresql://user:password@host:port/database?…`. Raises StoreUnavailable, RuntimeError.
    """

    reads_at_once = False
    newest_schema = len(schema.POSTGRES)
    _skipping = "FOR UPDATE SKIP LOCKED"

    def __init__(self, url: str, *, migrate: bool = True) -> None:
        with _failures():
            _prepare(url, migrate=migrate)
            self._datastore = open_datastore(url)
            self._recorder = _Recorder(self._datastore, events_table_name=schema.EVENTS_TABLE)
        self._url = url
        self._mapper = JsonMapper()

    def schema_version(self) -> int:
        """Return the number of the newest migration that the store has."""
        return self._stored_schema().version

    def schema_fault(self) -> str:
        """Return why this program must not use the store's schema; empty where it may."""
        return schema.fault(self._stored_schema(), self.newest_schema)

    def _stored_schema(self) -> schema.StoredSchema:
        with _failures(), self._datastore.unguarded() as connection:
            return postgres_schema.stored_schema(connection)

    def look_up(
        self,
        subjects: Sequence[Subject],
        commands: Sequence[CommandKey] = (),
        deliveries: Sequence[DeliveryKey] = (),
    ) -> Known:
        """Return what is committed of these. Raises StoreUnavailable."""
        clients, users = _columns(subjects, 2)
        key_clients, keys = _columns(commands, 2)
        log_clients = list(set(clients))
        parameters = {"clients": clients, "users": users, "key_clients": key_clients, "keys": keys}
        parameters |= {
            "log_clients": log_clients,
            "logs": [access_stream_id(client) for client in log_clients],
        }
        statement = _LOOK_UP + _SELECT_ANSWERS if commands else _LOOK_UP
        if deliveries:
            statement += _LOOK_UP_DELIVERY
            columns = _columns([key_columns(key) for key in deliveries], 3)
            parameters |= dict(zip(("delivery_clients", "streams", "versions"), columns, strict=True))
        known = Known()
        with _failures(), self._datastore.get_connection() as connection:
            rows = _query(connection, statement, parameters).fetchall()
            for subject in subjects:
                if not subject.user_ext_id:
                    _look_up_subscriptions(connection, subject.client_ext_id, known)
        for row in rows:
            _add(known, *row)
        return known

    def commit(self, changes: Changes) -> None:
        """Store all of it durably, or nothing. Raises Conflict, StoreUnavailable."""
        stored = [self._mapper.to_stored_event(event) for event in changes.events]
        with _failures():
            self._recorder.insert_events(stored, records=to_records(changes), changes=changes)

    def history(self, subject: Subject) -> Sequence[Event]:
        """Return every event of the credential, oldest first."""
        with _failures():
            stored = self._recorder.select_events(stream_id(*subject))
        return [cast("Event", self._mapper.to_domain_event(event)) for event in stored]

    def list_recipients(self, client_ext_id: str, after: str, limit: int) -> Sequence[Recipient]:
        """Return the next users of a client, by their ids."""
        statement = "SELECT row FROM recipients WHERE client_ext_id = %s AND user_ext_id > %s ORDER BY user_ext_id LIMIT %s"
        with _failures(), self._datastore.get_connection() as connection:
            return [
                to_recipient(row) for (row,) in _query(connection, statement, (client_ext_id, after, limit))
            ]

    def find_tickets(self, query: TicketQuery, after: Place | None, limit: int) -> Sequence[TicketState]:
        """Return the next tickets that fit, in the query's order."""
        condition, parameters = ticket_conditions(query, after, "%s")
        statement = f"SELECT row FROM tickets WHERE {condition} LIMIT %s"
        with _failures(), self._datastore.get_connection() as connection:
            return [to_ticket(row) for (row,) in _query(connection, statement, (*parameters, limit))]

    def expiring(
        self, ended: datetime, soon: datetime, after: Expiry | None, limit: int
    ) -> Sequence[TicketState]:
        """Return the next live tickets of which is still to be said that they end soon, or ended."""
        parameters = expiring_parameters(ended, soon, after, limit)
        with _failures(), self._datastore.get_connection() as connection:
            return [to_ticket(row) for (row,) in _query(connection, EXPIRING.format(mark="%s"), parameters)]

    def longest_warning_days(self) -> int:
        """Return the longest closeToExpirationThreshold of any policy; -1 where there is none."""
        with _failures(), self._datastore.get_connection() as connection:
            rows = [to_policy(row) for (row,) in _query(connection, "SELECT row FROM policies", ())]
        return max((row.policy.close_to_expiration_threshold for row in rows), default=-1)

    @contextmanager
    def lease(self, name: str) -> Iterator["_Lease | None"]:
        """Hold a name by an advisory lock of one connection, which PostgreSQL lets go when its process dies."""
        with _failures(), self._datastore.get_connection() as connection:
            lock = "hashtextextended(current_schema() || %s, 0)"
            found = _query(connection, f"SELECT pg_try_advisory_lock({lock})", (name,)).fetchone()
            held = bool(found and found[0])
            try:
                yield _Lease(connection) if held else None
            finally:
                if held and not connection.closed:
                    _query(connection, f"SELECT pg_advisory_unlock({lock})", (name,))

    def _fetch(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        with _failures(), self._datastore.get_connection() as connection:
            return _query(connection, statement.replace("?", "%s"), parameters).fetchall()

    def _change(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        return self._fetch(statement, parameters)  # each statement commits by itself

    def _run(self, statement: str, rows: Sequence[Row]) -> None:
        with _failures(), self._datastore.get_connection() as connection, connection.transaction():
            for row in rows:
                _query(connection, statement.replace("?", "%s"), row)

    def commits(self) -> Iterator[None]:
        """Yield at every NOTIFY of a commit, and once a second, since one may be lost with its connection."""
        while True:
            yield
            try:
                with psycopg.connect(**connection_options(self._url), autocommit=True) as connection:
                    connection.execute("LISTEN ticket_events")
                    yield  # what came before it listened
                    while True:
                        list(connection.notifies(timeout=_TOLD_EVERY_SECONDS, stop_after=1))
                        yield
            except psycopg.Error:
                time.sleep(_TOLD_EVERY_SECONDS)

    def place(self) -> str:
        """Return how far the server's own log goes now; a standby that has this has all that is committed."""
        return str(self._fetch("SELECT pg_current_wal_lsn()::text", ())[0][0])

    def close(self) -> None:
        """Close the connections."""
        self._datastore.close()


class Behind(Exception):
    """A standby that has not got as far as it must have to answer."""


class PostgresStandby(PostgresStore):
    """A PostgresStore that can only be read, since a server that takes no writes is enough for it.

    patience_seconds: how long a caller waits for a connection.
    """

    def __init__(self, url: str, patience_seconds: float) -> None:
        self._datastore = open_datastore(url, patience_seconds)
        self._recorder = _Recorder(self._datastore, events_table_name=schema.EVENTS_TABLE)
        self._url = url
        self._mapper = JsonMapper()
        self.needed = ("", 0)

    def has(self, place: str) -> bool:
        """Tell whether it got as far as this place of the primary's log."""
        statement = "SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= ?::text::pg_lsn"
        return bool(self._fetch(statement, (place,))[0][0])

    def having(self, client_ext_id: str, position: int) -> "PostgresStandby":
        """Return the same, but it raises Behind where the client's ledger does not reach that position yet."""
        other = copy(self)
        other.needed = (client_ext_id, position)
        return other

    def _fetch(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        client, position = self.needed
        with _failures(), self._datastore.get_connection() as connection:
            if position:
                # On this very connection, since there may be several standbys.
                found = _query(connection, _SELECT_SIZE, (client,)).fetchone()
                if not found or found[0] < position:
                    raise Behind
            return _query(connection, statement.replace("?", "%s"), parameters).fetchall()


class _Lease:
    """A lock that lasts as long as its connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def holds(self) -> bool:
        """Tell whether the connection is still there."""
        try:
            _query(self._connection, "SELECT 1", ())
        except psycopg.Error:
            return False
        return True


class _Recorder(PostgresApplicationRecorder):
    """Inserts the events and the records of one transaction together.

    Without the library's retry: after a lost acknowledgement it would insert again and report a conflict
    with itself. The callers' idempotency keys settle that case (library-facts, 3).
    """

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        records: Records = kwargs["records"]
        changes: Changes = kwargs["changes"]
        parameters = _parameters(stored_events, records, changes)
        with self.datastore.get_connection() as connection, on_the_standby_too(connection):
            if not (
                changes.policies
                or changes.recipients
                or changes.subscriptions
                or changes.deliveries
                or changes.retries
            ):
                _query(connection, _STORE_CHANGES, parameters)
                return None
            with connection.transaction():
                # First, since it takes the locks.
                _query(connection, _STORE_CHANGES, parameters)
                if records.policies:
                    _query(connection, _UPSERT_POLICIES, _columns(records.policies, 4))
                with connection.pipeline():
                    changed = [
                        _query(connection, _ERASE_RECIPIENT, (*row.subject, row.version))
                        if isinstance(row, Erasure)
                        else _query(connection, _UPSERT_RECIPIENT, row)
                        for row in records.recipients
                    ]
                if any(cursor.rowcount != 1 for cursor in changed):
                    raise Conflict
                for change in changes.subscriptions.values():
                    _query(connection, _UPSERT_SUBSCRIPTION, subscription_columns(change))
                _change_deliveries(connection, changes)
        return None


def _add(known: Known, kind: str, client: str, key: str, row: bytes) -> None:
    match kind:
        case "ticket":
            known.tickets[Subject(client, key)] = to_ticket(row)
        case "recipient":
            known.recipients[Subject(client, key)] = to_recipient(row)
        case "policy":
            known.policies[PolicyKey(client, key)] = to_policy(row)
        case "access":
            known.access_versions[client] = int(key)
        case "answer":
            known.answers[CommandKey(client, key)] = to_answer(row)
        case "delivery":
            stream, _, version = key.rpartition("-")
            known.deliveries[DeliveryKey(client, UUID(stream), int(version))] = int(row)


def _change_deliveries(connection: Connection, changes: Changes) -> None:
    ended = [(key, change.so_far) for key, change in changes.deliveries.items() if change.trying is None]
    if ended:
        columns = _columns([(*key_columns(key), so_far - 1) for key, so_far in ended], 4)
        if _query(connection, _END, columns).rowcount != len(ended):
            raise Conflict
    for key, (so_far, trying, until) in changes.deliveries.items():
        if trying and _query(connection, _FAIL, failed_columns(key, so_far, trying, until)).rowcount != 1:
            raise Conflict
    for subject in changes.retries:
        _query(connection, _RETRY, subject)


def _look_up_subscriptions(connection: Connection, client: str, known: Known) -> None:
    rows = _query(connection, _OF_CLIENT, (client,))
    known.subscriptions.update((found.row.key, found) for found in map(to_subscribed, rows))
    size = _query(connection, _SELECT_SIZE, (client,)).fetchone()
    known.ledger_sizes[client] = size[0] if size else 0


def _parameters(stored_events: Sequence[StoredEvent], records: Records, changes: Changes) -> list[Any]:
    events = [(c.stream, c.version, c.topic) for c in records.ledger]
    searched = [(c.client_ext_id, c.user_ext_id, c.occurred, c.actor, c.trace_id) for c in records.ledger]
    return [
        *_columns(events, 3),
        [event.state for event in stored_events],
        *_columns(records.tickets, 10),
        *_columns([outbox_columns(entry) for entry in changes.outbox], 7),
        *_columns(searched, 5),
        *_columns(records.answers, 3),
    ]


def schema_version_at(url: str) -> int:
    """Return the number of the newest migration of a store; 0 where there is none yet. Raises StoreUnavailable."""
    with _failures(), psycopg.connect(**connection_options(url)) as connection:
        return postgres_schema.stored_schema(connection).version


def others_at(url: str) -> list[int]:
    """Return the processes of the server that serve others of this user on the database. Raises StoreUnavailable."""
    with _failures(), psycopg.connect(**connection_options(url)) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY pid"
        )
        return [pid for (pid,) in found]


def _prepare(url: str, *, migrate: bool) -> None:
    with psycopg.connect(**connection_options(url)) as connection:
        (postgres_schema.migrate if migrate else postgres_schema.check)(connection)


def _query(
    connection: Connection, statement: str, parameters: Sequence[Any] | dict[str, Any]
) -> psycopg.Cursor[Row]:
    cursor = connection.cursor(row_factory=tuple_row, binary=True)
    try:
        return cursor.execute(cast("Any", statement), parameters, prepare=True)
    except psycopg.errors.ReadOnlySqlTransaction:
        connection.close()  # its server is no longer the one that takes writes; the pool finds that one
        raise


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Turn rows into the arrays that unnest takes, so that any number of rows is one prepared statement."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise Conflict(str(error)) from error
    # A ProgrammingError: the schema was changed while a statement was on its way.
    except (OperationalError, InterfaceError, InternalError, ProgrammingError, psycopg.Error) as error:
        raise StoreUnavailable(f"the PostgreSQL store failed: {error}") from error
