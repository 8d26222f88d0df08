"""The store for several processes or machines: PostgreSQL."""

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple, cast
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
from psycopg.pq.abc import PGresult
from psycopg.rows import tuple_row

from application.shared.errors import Conflict, StoreUnavailable
from application.transaction.known_rows import KnownLoad
from application.transaction.records import Changes, Load, LoadedState
from interface.outbound.keys.row_sealer import RowSealer
from interface.outbound.sql import postgres_schema, schema
from interface.outbound.sql.codec import JsonMapper
from interface.outbound.sql.postgres_checks import CHECKABLE
from interface.outbound.sql.postgres_commit import commit_steps
from interface.outbound.sql.postgres_connections import (
    Connection,
    Datastore,
    connection_options,
    open_datastore,
    pin_schema,
)
from interface.outbound.sql.postgres_notifier import CHANNEL, Notifier
from interface.outbound.sql.postgres_session import Session, Statement, Step, columns
from interface.outbound.sql.postgres_session import rows as found_rows
from interface.outbound.sql.queries import SqlQueries
from interface.outbound.sql.table import Row, Table
from interface.outbound.sql.tables import LoadQuery, Tables

_NOTIFY_SECONDS = 1
# Each has a connection of the pool, which then has too few for other queries after many calls at the same time.
_KEPT_SESSIONS = 4

_SELECT_SIZE = "SELECT size FROM ledger_sizes WHERE client_ext_id = %s"


class Connections(NamedTuple):
    """The connections of a store; several stores can share them."""

    url: str
    datastore: Datastore
    recorder: PostgresApplicationRecorder
    notifier: Notifier
    sessions: list[Session]

    @classmethod
    def to(cls, url: str, datastore: Datastore) -> "Connections":
        """Return the connections of a pool."""
        recorder = PostgresApplicationRecorder(datastore, events_table_name=schema.EVENTS_TABLE)
        return cls(url, datastore, recorder, Notifier(datastore.options), [])


class PostgresStore(SqlQueries):
    """Implements every port of the store; the ports document the methods.

    url: in the libpq format, `postgresql://user:password@host:port/database?…`. tables: of the record sets that it stores.
    sealer: None: rows are neither sealed nor checked.
    Raises StoreUnavailable, RuntimeError.
    """

    lookup_is_nonblocking = False
    checkable = CHECKABLE
    newest_schema = len(schema.POSTGRES)
    _skipping = "FOR UPDATE SKIP LOCKED"
    _has_salt = """position('"salt":"'::bytea IN row) > 0"""

    def __init__(
        self,
        url: str,
        tables: Iterable[Table[Any, Any]] = (),
        sealer: RowSealer | None = None,
        *,
        migrate: bool = True,
    ) -> None:
        known = Tables(tables, sealer)
        with _failures():
            self.search_path = _prepare(url, known.sealed() if sealer else (), migrate=migrate)
            self._use(Connections.to(url, open_datastore(url, self.search_path)), known)

    def _use(self, connections: Connections, tables: Tables) -> None:
        self.connections = connections
        self._url, self._datastore, self._recorder, self._notifier, _ = connections
        self._tables = tables
        self._load_statements: dict[str, tuple[Statement, Sequence[str]]] = {}
        self._mapper = JsonMapper()

    @property
    def tables(self) -> Tables:
        """The tables of the record sets that it stores."""
        return self._tables

    def schema_version(self) -> int:
        """Return the number of the store's newest migration."""
        return self._stored_schema().version

    def schema_fault(self) -> str:
        """Return the reason why this program must not use the store's schema; empty: it may."""
        return schema.fault(self._stored_schema(), self.newest_schema)

    def _stored_schema(self) -> schema.StoredSchema:
        with _failures(), self._datastore.unguarded() as connection:
            return postgres_schema.stored_schema(connection)

    def load(self, loads: Sequence[Load]) -> LoadedState:
        """Return the committed rows. Raises StoreUnavailable."""
        if (query := self._tables.load_query(loads, _wanted)) is None:
            return LoadedState()
        with self._session() as session:
            return self._loaded(query, session.run([self._load_step(query)]))

    async def load_on_loop(self, loads: Sequence[Load]) -> LoadedState:
        """Do the same, but wait on the event loop."""
        if (query := self._tables.load_query(loads, _wanted)) is None:
            return LoadedState()
        with self._session() as session:
            found = await session.run_on_loop([self._load_step(query)])
        return self._loaded(query, found)

    def _load_step(self, query: LoadQuery) -> Step:
        statement, _ = self._load_statement(query)
        arrays = [
            array
            for prefixes, names in zip(query.prefixes, query.columns, strict=True)
            for array in columns([_of_types(names, prefix) for prefix in prefixes], len(names))
        ]
        return statement, arrays

    def _loaded(self, query: LoadQuery, results: Sequence[PGresult]) -> LoadedState:
        _, types = self._load_statement(query)
        return query.read(found_rows(results[0], types), self._accepts)

    def _load_statement(self, query: LoadQuery) -> tuple[Statement, Sequence[str]]:
        """Return the statement, and the types of the columns that it finds."""
        known = self._load_statements.get(query.statement)
        if known is None:
            number = count(1)
            text = re.sub("%s", lambda _: f"${next(number)}", query.statement)
            statement = Statement(text, tuple(kind for names in query.columns for kind in names.values()))
            known = self._load_statements[query.statement] = statement, query.types
        return known

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """Yield a session that is free, or a new one; a few are kept."""
        sessions = self.connections.sessions
        try:
            session = sessions.pop()
        except IndexError:
            session = Session(self._datastore)
        try:
            with _failures():
                yield session
        finally:
            if session.is_open and len(sessions) < _KEPT_SESSIONS:
                sessions.append(session)
            else:
                session.close()

    def commit(self, changes: Changes) -> None:
        """Store all changes durably, or none, and wake the readers. Raises Conflict, StoreUnavailable.

        Without the library's retry: after a lost acknowledgement it would insert again and report a conflict with itself.
        The callers' idempotency keys handle that case.
        """
        with self._session() as session:
            session.run(self._commit_steps(changes))
        self._wake_after(changes)

    async def commit_on_loop(self, changes: Changes, known: Sequence[KnownLoad] = ()) -> None:
        """Do the same, but wait on the event loop."""
        with self._session() as session:
            await session.run_on_loop(self._commit_steps(changes, known))
        self._wake_after(changes)

    def _commit_steps(self, changes: Changes, known: Sequence[KnownLoad] = ()) -> list[Step]:
        stored = [self._mapper.to_stored_event(event) for event in changes.events]
        return commit_steps(stored, changes, self._tables, known)

    def _wake_after(self, changes: Changes) -> None:
        if changes.events:
            self._notifier.wake()

    def _stored_events(self, stream: UUID, after: int | None, last: int | None) -> Sequence[StoredEvent]:
        with _failures():
            return list(self._recorder.select_events(stream, gt=after, lte=last))

    @contextmanager
    def lease(self, name: str) -> Iterator["_Lease | None"]:
        """Lease a name by an advisory lock of a connection, which PostgreSQL releases when its process dies."""
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
        """Yield after commits, and once a second, since a NOTIFY can be lost."""
        while True:
            yield
            try:
                with psycopg.connect(**connection_options(self._url), autocommit=True) as connection:
                    connection.execute(f"LISTEN {CHANNEL}".encode())
                    yield  # for commits before LISTEN
                    while True:
                        list(connection.notifies(timeout=_NOTIFY_SECONDS, stop_after=1))
                        yield
            except psycopg.Error:
                time.sleep(_NOTIFY_SECONDS)

    def place(self) -> str:
        """Return the current WAL position; a standby that has replayed it has all committed data."""
        return str(self._fetch("SELECT pg_current_wal_lsn()::text", ())[0][0])

    def close(self) -> None:
        """Close the connections, after a NOTIFY that is due."""
        self._notifier.close()
        while self.connections.sessions:
            self.connections.sessions.pop().close()
        self._datastore.close()


class Behind(Exception):
    """The standby has not replayed the required position."""


class PostgresStandby(PostgresStore):
    """A read-only PostgresStore on a standby.

    client_ext_id, position: a read raises Behind if the client's ledger does not reach this position yet.
    """

    def __init__(
        self, connections: Connections, tables: Tables, client_ext_id: str = "", position: int = 0
    ) -> None:
        self._use(connections, tables)
        self._needed = (client_ext_id, position)

    def has(self, place: str) -> bool:
        """Return whether the standby has replayed this WAL position of the primary."""
        statement = "SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= ?::text::pg_lsn"
        return bool(self._fetch(statement, (place,))[0][0])

    def having(self, client_ext_id: str, position: int) -> "PostgresStandby":
        """Return the standby, whose reads raise Behind if the client's ledger does not reach this position yet."""
        return PostgresStandby(self.connections, self.tables, client_ext_id, position)

    def _fetch(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        client, position = self._needed
        with _failures(), self._datastore.get_connection() as connection:
            if position:
                # On the same connection, since there can be several standbys.
                found = _query(connection, _SELECT_SIZE, (client,)).fetchone()
                if not found or found[0] < position:
                    raise Behind
            return _query(connection, statement.replace("?", "%s"), parameters).fetchall()


class _Lease:
    """A lock that lasts as long as its connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def holds(self) -> bool:
        """Return whether the connection is still open."""
        try:
            _query(self._connection, "SELECT 1", ())
        except psycopg.Error:
            return False
        return True


def _of_types(names: Mapping[str, str], prefix: Row) -> Row:
    """Return a prefix with the ids of streams as hex if the column is text."""
    values = zip(names.values(), prefix, strict=True)
    return tuple(value.hex if kind == "text" and isinstance(value, UUID) else value for kind, value in values)


def _wanted(prefix: Mapping[str, str]) -> str:
    arrays = ", ".join(f"%s::{kind}[]" for kind in prefix.values())
    return f"unnest({arrays}) AS wanted ({', '.join(prefix)})"


def schema_version_at(url: str) -> int:
    """Return the number of a store's newest migration; 0 for an empty database. Raises StoreUnavailable."""
    with _failures(), psycopg.connect(**connection_options(url)) as connection:
        return postgres_schema.stored_schema(connection).version


def others_at(url: str) -> list[int]:
    """Return the server processes of this user's other connections to the database. Raises StoreUnavailable."""
    with _failures(), psycopg.connect(**connection_options(url)) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY pid"
        )
        return [pid for (pid,) in found]


def _prepare(url: str, sealed: Iterable[str], *, migrate: bool) -> str:
    """Return the search path. Raises RuntimeError, StoreUnavailable."""
    with psycopg.connect(**connection_options(url)) as connection:
        path = pin_schema(connection)
        if migrate:
            postgres_schema.migrate(connection, sealed)
        else:
            postgres_schema.check(connection)
    return path


def _query(
    connection: Connection, statement: str, parameters: Sequence[Any] | dict[str, Any]
) -> psycopg.Cursor[Row]:
    cursor = connection.cursor(row_factory=tuple_row, binary=True)
    try:
        return cursor.execute(cast("Any", statement), parameters, prepare=True)
    except psycopg.errors.ReadOnlySqlTransaction:
        connection.close()  # its server is no longer the primary, which the pool finds when it reconnects
        raise


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (IntegrityError, psycopg.IntegrityError, psycopg.errors.InvalidTextRepresentation) as error:
        raise Conflict(str(error)) from error
    except psycopg.DataError:
        raise  # a value that cannot be stored
    # ProgrammingError: the schema was changed during a statement.
    except (OperationalError, InterfaceError, InternalError, ProgrammingError, psycopg.Error) as error:
        raise StoreUnavailable(f"the PostgreSQL store failed: {error}") from error
