"""The embedded store: one SQLite file, write-ahead log, every commit on the disk before it is answered."""

import fcntl
import os
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar, cast
from urllib.parse import quote
from uuid import UUID

from eventsourcing.persistence import (
    ConnectionUnavailableError,
    IntegrityError,
    OperationalError,
    PersistenceError,
    StoredEvent,
)
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
)

from application.model.outbox import DeliveryChange
from application.record.ledger import leaf_of
from application.record.streams import LedgerColumns
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
from interface.outbound.sql import schema, sqlite_schema
from interface.outbound.sql.figures_tables import SqlFigures
from interface.outbound.sql.ledger_tables import SqlLedger
from interface.outbound.sql.outbox_tables import (
    END,
    FAIL,
    LOOK_UP,
    RETRY,
    SqlOutbox,
    failed_columns,
    key_columns,
    outbox_columns,
)
from interface.outbound.sql.records import (
    EXPIRING,
    TICKET_COLUMNS,
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
from interface.outbound.sql.sqlite_lock import share
from interface.outbound.sql.subscription_tables import (
    OF_CLIENT,
    UPSERT,
    SqlSubscriptions,
    subscription_columns,
    to_subscribed,
)

Chunked = TypeVar("Chunked", bound=tuple[Any, ...])

LOCK_TIMEOUT_SECONDS = 5
# The library keeps one prepared statement per connection; we use some dozens.
_CACHED_STATEMENTS = 128
_MOST_ROWS = 128
_ASKED_EVERY_SECONDS = 0.005
_TOLD_EVERY_SECONDS = 1
# 40 MB: a page that many commits change is brought into the database once for all of them.
_CHECKPOINT_PAGES = 10_000
_INSERT_OUTBOX = (
    "INSERT INTO outbox (client_ext_id, user_ext_id, stream, version, sealed, minted, terms) VALUES"
)
_INSERT_EVENTS = "INSERT INTO ticket_events (originator_id, originator_version, topic, state) VALUES"
# An update leaves alone the index entries that stay as they are; a replacement would write each anew.
_ON_CONFLICT_UPDATE = """
ON CONFLICT DO UPDATE SET version=excluded.version, row=excluded.row, state_name=excluded.state_name,
    locked_until=excluded.locked_until, policy_ext_id=excluded.policy_ext_id, valid_to=excluded.valid_to,
    last_modified=excluded.last_modified, expiry_step=excluded.expiry_step
"""
_SELECT_OF_CLIENT = """
SELECT policy_ext_id, row FROM policies WHERE client_ext_id=?
UNION ALL SELECT NULL, max(version) FROM ledger WHERE client_ext_id=? AND stream=?
"""
_GROW_LEDGER = """
INSERT INTO ledger_sizes (client_ext_id, size) VALUES (?,?)
ON CONFLICT DO UPDATE SET size=size+excluded.size RETURNING size
"""
_LOOK_UP = """
WITH wanted (client_ext_id, user_ext_id) AS (VALUES {wanted})
SELECT 'ticket', client_ext_id, user_ext_id, row FROM wanted JOIN tickets USING (client_ext_id, user_ext_id)
UNION ALL
SELECT 'recipient', client_ext_id, user_ext_id, row FROM wanted JOIN recipients USING (client_ext_id, user_ext_id)
"""
# Each insertion names its columns: a store of the next release may have more (ADR 12).
_INSERT_LEDGER = (
    "INSERT INTO ledger (client_ext_id, position, stream, version, user_ext_id, topic, occurred, actor, trace_id, leaf)"
    " VALUES"
)
_INSERT_TICKETS = f"INSERT INTO tickets ({TICKET_COLUMNS}) VALUES"
_INSERT_POLICIES = "INSERT INTO policies (client_ext_id, policy_ext_id, version, row) VALUES"
_UPDATE_POLICY = "ON CONFLICT DO UPDATE SET version=excluded.version, row=excluded.row"
_INSERT_ANSWERS = "INSERT INTO answers (client_ext_id, command_id, row) VALUES"
_UPSERT_RECIPIENT = """
INSERT INTO recipients (client_ext_id, user_ext_id, version, row) VALUES (?,?,?,?)
ON CONFLICT DO UPDATE SET version=excluded.version, row=excluded.row WHERE version=excluded.version-1
"""
_TABLES = [
    table
    for migration in schema.SQLITE
    for statement in migration
    for table in re.findall(r"CREATE TABLE (\w+)", statement)
]
_TABLE_COLUMNS = "SELECT name, type, pk FROM pragma_table_info(?)"
# The columns that hold the id of a stream: 32 hex digits.
_STREAMS = ("stream", "originator_id")
_NO_STREAM = " OR length(CAST({name} AS BLOB)) <> 32 OR {name} GLOB '*[^0-9a-f]*'"
# Of each table at most so many rows are reported.
_MISTYPED = 100
_ERASE_RECIPIENT = "DELETE FROM recipients WHERE client_ext_id=? AND user_ext_id=? AND version=?"


class SqliteStore(SqlLedger, SqlSubscriptions, SqlOutbox, SqlFigures):
    """Implements the ports Store, Subscriptions and Outbox; see there for what the methods promise.

    path: the database file, made with mode 0600 if it is not there. Raises StoreUnavailable, RuntimeError.
    """

    reads_at_once = True
    newest_schema = len(schema.SQLITE)

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _failures():
            self._shared = share(path)
            try:
                # One that exists must not be opened here: closing it drops the locks that SQLite holds in this process.
                with suppress(FileExistsError):
                    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
                sqlite_schema.prepare(path, LOCK_TIMEOUT_SECONDS)
                self._datastore = _Datastore(uri_of(path))
            except BaseException:
                os.close(self._shared)
                raise
        self._recorder = _Recorder(self._datastore, events_table_name=schema.EVENTS_TABLE)
        self._mapper = JsonMapper()

    def schema_version(self) -> int:
        """Return the number of the newest migration that the store has."""
        return schema_version_at(self._path)

    def schema_fault(self) -> str:
        """Return why this program must not use the store's schema; empty where it may."""
        return schema.fault(stored_schema_at(self._path), self.newest_schema)

    def look_up(
        self,
        subjects: Sequence[Subject],
        commands: Sequence[CommandKey] = (),
        deliveries: Sequence[DeliveryKey] = (),
    ) -> Known:
        """Return what is committed of these. Raises StoreUnavailable."""
        known = Known()
        with _failures(), self._datastore.transaction(commit=False) as cursor:
            # Each in one execution for several, as in _insert.
            for chunk in _chunks(subjects):
                wanted = ",".join(["(?,?)"] * len(chunk))
                cursor.execute(
                    _LOOK_UP.format(wanted=wanted), [text for subject in chunk for text in subject]
                )
                for kind, client, user, row in cursor.fetchall():
                    if kind == "ticket":
                        known.tickets[Subject(client, user)] = to_ticket(row)
                    else:
                        known.recipients[Subject(client, user)] = to_recipient(row)
            _look_up_clients(cursor, subjects, known)
            for key in commands:
                if row := _select(
                    cursor, "SELECT row FROM answers WHERE client_ext_id=? AND command_id=?", key
                ):
                    known.answers[key] = to_answer(row)
            for delivery in deliveries:
                so_far = _select(cursor, LOOK_UP, key_columns(delivery))
                if so_far is not None:
                    known.deliveries[delivery] = so_far
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
        statement = (
            "SELECT row FROM recipients WHERE client_ext_id=? AND user_ext_id>? ORDER BY user_ext_id LIMIT ?"
        )
        with _failures(), self._datastore.transaction(commit=False) as cursor:
            cursor.execute(statement, (client_ext_id, after, limit))
            return [to_recipient(row) for (row,) in cursor.fetchall()]

    def find_tickets(self, query: TicketQuery, after: Place | None, limit: int) -> Sequence[TicketState]:
        """Return the next tickets that fit, in the query's order."""
        condition, parameters = ticket_conditions(query, after, "?")
        with _failures(), self._datastore.transaction(commit=False) as cursor:
            cursor.execute(f"SELECT row FROM tickets WHERE {condition} LIMIT ?", (*parameters, limit))
            return [to_ticket(row) for (row,) in cursor.fetchall()]

    def expiring(
        self, ended: datetime, soon: datetime, after: Expiry | None, limit: int
    ) -> Sequence[TicketState]:
        """Return the next live tickets of which is still to be said that they end soon, or ended."""
        with _failures(), self._datastore.transaction(commit=False) as cursor:
            cursor.execute(EXPIRING.format(mark="?"), expiring_parameters(ended, soon, after, limit))
            return [to_ticket(row) for (row,) in cursor.fetchall()]

    def longest_warning_days(self) -> int:
        """Return the longest closeToExpirationThreshold of any policy; -1 where there is none."""
        with _failures(), self._datastore.transaction(commit=False) as cursor:
            cursor.execute("SELECT row FROM policies")
            rows = [to_policy(row) for (row,) in cursor.fetchall()]
        return max((row.policy.close_to_expiration_threshold for row in rows), default=-1)

    @contextmanager
    def lease(self, name: str) -> Iterator["_Lease | None"]:
        """Hold a name by a lock on a file beside the database."""
        with _failures():
            lock = self._path.with_name(f"{self._path.name}.{name}.lock").open("a")
        with lock as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield _Lease()

    def mistyped(self) -> Sequence[str]:
        """Return stored values that are not of the type of their column, which SQLite stores all the same."""
        return [fault for table in _TABLES for fault in self._mistyped_in(table)]

    def _mistyped_in(self, table: str) -> Iterator[str]:
        columns = [tuple(row) for row in self._fetch(_TABLE_COLUMNS, (table,))]
        checks = [
            f"(typeof({name}) <> '{type_.lower()}'{_NO_STREAM.format(name=name) if name in _STREAMS else ''})"
            for name, type_, _ in columns
        ]
        key = [name for name, _, of_key in columns if of_key]
        rows = self._fetch(
            f"SELECT {', '.join([*key, *checks])} FROM {table} WHERE {' OR '.join(checks)} LIMIT {_MISTYPED}",
            (),
        )
        for row in map(tuple, rows):
            place = ", ".join(f"{name} {value!r}" for name, value in zip(key, row, strict=False))
            for (name, type_, _), is_wrong in zip(columns, row[len(key) :], strict=True):
                if is_wrong:
                    kind = "id of a stream" if name in _STREAMS else type_
                    yield f"table {table}, {place}: column {name} holds no {kind}"

    def _fetch(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        with _failures(), self._datastore.transaction(commit=False) as cursor:
            cursor.execute(statement, _hexed(parameters))
            return list(cursor.fetchall())

    def _change(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        with _failures(), self._datastore.transaction(commit=True) as cursor:
            cursor.execute(statement, _hexed(parameters))
            return list(cursor.fetchall())

    def _run(self, statement: str, rows: Sequence[Row]) -> None:
        with _failures(), self._datastore.transaction(commit=True) as cursor:
            cursor.executemany(statement, [_hexed(row) for row in rows])

    def commits(self) -> Iterator[None]:
        """Yield whenever the file was changed by another connection: SQLite tells nobody, so it is asked."""
        connection = sqlite3.connect(f"{uri_of(self._path)}?mode=ro", uri=True, isolation_level=None)
        try:
            known, told = None, 0.0
            while True:
                found = _data_version(connection)
                now = time.monotonic()
                if found != known or now - told >= _TOLD_EVERY_SECONDS:
                    known, told = found, now
                    yield
                time.sleep(_ASKED_EVERY_SECONDS)
        finally:
            connection.close()

    def close(self) -> None:
        """Close the connections."""
        self._datastore.close()
        if self._shared >= 0:
            os.close(self._shared)
            self._shared = -1


def uri_of(path: Path) -> str:
    """Return the URI by which SQLite opens a file."""
    return f"file:{quote(str(path))}"


def schema_version_at(path: Path) -> int:
    """Return the number of the newest migration of a store; 0 where there is none yet. Raises StoreUnavailable."""
    return stored_schema_at(path).version


def stored_schema_at(path: Path) -> schema.StoredSchema:
    """Return the schema of a store. Raises StoreUnavailable."""
    if not path.exists():
        return schema.StoredSchema(0, 0)
    with _failures(), closing(sqlite3.connect(f"{uri_of(path)}?mode=ro", uri=True)) as connection:
        return sqlite_schema.stored_schema(connection)


class _Lease:
    """A lock on a file, which lasts as long as the process."""

    def holds(self) -> bool:
        """Tell that it does."""
        return True


class _Recorder(SQLiteApplicationRecorder):
    """Inserts the events and the records of one transaction together."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        records: Records = kwargs["records"]
        changes: Changes = kwargs["changes"]
        # The transaction writes before it reads, so it waits for the lock instead of failing on a stale snapshot.
        with self.datastore.transaction(commit=True) as cursor:
            _insert(cursor, _INSERT_EVENTS, [_event_columns(event) for event in stored_events])
            _insert(cursor, _INSERT_LEDGER, _ledger_rows(cursor, stored_events, records.ledger))
            _insert(cursor, _INSERT_TICKETS, records.tickets, _ON_CONFLICT_UPDATE)
            _insert(cursor, _INSERT_POLICIES, records.policies, _UPDATE_POLICY)
            _insert(cursor, _INSERT_OUTBOX, [outbox_columns(entry) for entry in changes.outbox])
            _insert(cursor, _INSERT_ANSWERS, records.answers)
            for row in records.recipients:
                if isinstance(row, Erasure):
                    cursor.execute(_ERASE_RECIPIENT, (*row.subject, row.version))
                else:
                    cursor.execute(_UPSERT_RECIPIENT, row)
                if cursor.sqlite_cursor.rowcount != 1:
                    raise Conflict
            for change in changes.subscriptions.values():
                cursor.execute(UPSERT, subscription_columns(change))
            for key, delivery in changes.deliveries.items():
                _change_delivery(cursor, key, delivery)
            for subject in changes.retries:
                cursor.execute(RETRY, subject)
        return None


class _Pool(SQLiteConnectionPool):
    def _create_connection(self) -> SQLiteConnection:
        connection = sqlite3.connect(
            self.db_name,
            uri=True,
            check_same_thread=False,
            isolation_level=None,
            cached_statements=_CACHED_STATEMENTS,
            timeout=LOCK_TIMEOUT_SECONDS,
        )
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        connection.row_factory = sqlite3.Row
        return SQLiteConnection(sqlite_conn=connection, max_age=self.max_age)


class _Datastore(SQLiteDatastore):
    def __init__(self, db_name: str) -> None:
        super().__init__(db_name)
        self.pool = _Pool(db_name=db_name, pool_size=8, max_overflow=32, pool_timeout=LOCK_TIMEOUT_SECONDS)
        self._writer = Lock()
        self._guard = schema.SchemaGuard(len(schema.SQLITE))

    @contextmanager
    def get_connection(self, *, commit: bool) -> Iterator[SQLiteConnection]:
        """Lend a connection, to one writer at a time.

        The library's pool waits for the writer before it with all readers behind it, those of the event loop too, and
        where it then cannot open a connection, it takes nobody else for a writer ever again.
        """
        if commit and not self._writer.acquire(timeout=LOCK_TIMEOUT_SECONDS):
            raise ConnectionUnavailableError("others have been writing for too long")
        try:
            connection = self.pool.get_connection()
            try:
                self._check_schema(connection)
                yield connection
            except (PersistenceError, sqlite3.Error) as error:
                # One that failed may be in its transaction still, or was opened while nothing could be written: SQLite
                # then opens for reading only, and for good.
                if not isinstance(error, IntegrityError):
                    connection.close()
                raise
            finally:
                self.pool.put_connection(connection)
        finally:
            if commit:
                self._writer.release()

    def _check_schema(self, connection: SQLiteConnection) -> None:
        read = partial(sqlite_schema.stored_schema, connection._sqlite_conn)  # noqa: SLF001 - the library hands out cursors only
        try:
            self._guard.check(read)
        except RuntimeError as error:
            raise OperationalError(str(error)) from None


def _change_delivery(cursor: SQLiteCursor, key: DeliveryKey, change: DeliveryChange) -> None:
    if change.trying is None:
        cursor.execute(END, (*key_columns(key), change.so_far - 1))
    else:
        cursor.execute(FAIL, failed_columns(key, change.so_far, change.trying, change.until))
    if cursor.sqlite_cursor.rowcount != 1:
        raise Conflict


def _look_up_clients(cursor: SQLiteCursor, subjects: Sequence[Subject], known: Known) -> None:
    for client in {subject.client_ext_id for subject in subjects}:
        cursor.execute(_SELECT_OF_CLIENT, (client, client, access_stream_id(client).hex))
        *policies, (_, access_version) = cursor.fetchall()
        for policy, row in policies:
            known.policies[PolicyKey(client, policy)] = to_policy(row)
        if access_version:
            known.access_versions[client] = access_version
    for client, user in subjects:
        if not user:
            cursor.execute(OF_CLIENT, (client,))
            known.subscriptions.update(
                (found.row.key, found) for found in map(to_subscribed, cursor.fetchall())
            )
            size = _select(cursor, "SELECT size FROM ledger_sizes WHERE client_ext_id=?", (client,))
            known.ledger_sizes[client] = size or 0


def _data_version(connection: sqlite3.Connection) -> int | None:
    try:
        return cast("int", connection.execute("PRAGMA data_version").fetchone()[0])
    except sqlite3.Error:
        return None  # locked for a moment; it is asked again


def _hexed(parameters: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(value.hex if isinstance(value, UUID) else value for value in parameters)


def _ledger_rows(
    cursor: SQLiteCursor, events: Sequence[StoredEvent], ledger: Sequence[LedgerColumns]
) -> list[Row]:
    """Give out the next positions of each client. The transaction has written already, so nobody else does."""
    position: dict[str, int] = {}
    for client, count in Counter(columns.client_ext_id for columns in ledger).items():
        cursor.execute(_GROW_LEDGER, (client, count))
        position[client] = cursor.fetchone()[0] - count
    rows = []
    for event, (client, stream, version, user, topic, *searched) in zip(events, ledger, strict=True):
        position[client] += 1
        leaf = leaf_of(client, position[client], stream, version, topic, event.state)
        rows.append((client, position[client], stream.hex, version, user, topic, *searched, leaf))
    return rows


def _event_columns(event: StoredEvent) -> Row:
    return cast("UUID", event.originator_id).hex, event.originator_version, event.topic, event.state


def _insert(cursor: SQLiteCursor, statement: str, rows: Sequence[Row], on_conflict: str = "") -> None:
    """Insert the rows in few executions.

    Each execution lets go of the interpreter's lock and has to get it back, which is dear beside a busy event loop.
    """
    for chunk in _chunks(rows):
        row = f"({','.join('?' * len(chunk[0]))})"
        parameters = [value for columns in chunk for value in columns]
        cursor.execute(f"{statement} {','.join([row] * len(chunk))} {on_conflict}", parameters)


def _chunks(rows: Sequence[Chunked]) -> Iterator[Sequence[Chunked]]:
    """Cut the rows into chunks of 128, 64, 32 … 1, so that few different statements are prepared, and stay so."""
    begin = 0
    while rest := len(rows) - begin:
        count = 1 << (min(rest, _MOST_ROWS).bit_length() - 1)
        yield rows[begin : begin + count]
        begin += count


def _select(cursor: SQLiteCursor, statement: str, parameters: tuple[Any, ...]) -> Any:
    cursor.execute(statement, parameters)
    found = cursor.fetchone()
    return found[0] if found else None


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise Conflict(str(error)) from error
    except (PersistenceError, sqlite3.Error, OSError) as error:
        raise StoreUnavailable(f"the SQLite store failed: {error}") from error
