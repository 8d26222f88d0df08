"""The embedded store: one SQLite file with a write-ahead log; every commit is synced to disk before the response."""

import json
import os
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext, suppress
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

from application.record.ledger import leaf_of
from application.record.streams import columns_of
from application.shared.errors import Conflict, StoreUnavailable
from application.transaction.records import Changes, Load, LoadedState
from domain.users.user import UserErased
from interface.outbound.files.durable_file import locked_file, make_directory
from interface.outbound.keys.row_sealer import RowSealer
from interface.outbound.sql import schema, sqlite_schema
from interface.outbound.sql.codec import JsonMapper
from interface.outbound.sql.queries import SqlQueries
from interface.outbound.sql.sqlite_lock import share
from interface.outbound.sql.table import Row, Storing, Table
from interface.outbound.sql.tables import Tables

Chunked = TypeVar("Chunked", bound=tuple[Any, ...])

LOCK_TIMEOUT_SECONDS = 5
# The library caches one prepared statement per connection; the store uses dozens.
_CACHED_STATEMENTS = 128
_MOST_ROWS = 128
_POLL_SECONDS = 0.005
_NOTIFY_SECONDS = 1
# 40 MB: a page that many commits change is written to the database once for all of them.
_CHECKPOINT_PAGES = 10_000
_CUT_WAIT_SECONDS = 0.1
_INSERT_EVENTS = "INSERT INTO ticket_events (originator_id, originator_version, topic, state) VALUES"
_GROW_LEDGER = """
INSERT INTO ledger_sizes (client_ext_id, size) VALUES (?,?)
ON CONFLICT DO UPDATE SET size=size+excluded.size RETURNING size
"""
# Each insertion names its columns: a store of the next release may have more (ADR 12).
_INSERT_LEDGER = (
    "INSERT INTO ledger (client_ext_id, position, stream, version, user_ext_id, topic, occurred, actor, trace_id, leaf)"
    " VALUES"
)
_TABLES = [
    table
    for migration in schema.SQLITE
    for statement in migration
    for table in re.findall(r"CREATE TABLE (\w+)", statement)
]
_TABLE_COLUMNS = """SELECT name, type, pk, iif("notnull", '', 'null') FROM pragma_table_info(?)"""
# The columns with stream ids: 32 hex digits.
_STREAMS = ("stream", "originator_id")
_NO_STREAM = " OR length(CAST({name} AS BLOB)) <> 32 OR {name} GLOB '*[^0-9a-f]*'"
_READABLE = (
    "AND typeof(position) = 'integer' AND typeof(version) = 'integer' AND typeof(leaf) = 'blob'"
    " AND length(CAST(stream AS BLOB)) = 32 AND stream NOT GLOB '*[^0-9a-f]*'"
)
# The maximum number of reported rows per table.
_MISTYPED = 100


class SqliteStore(SqlQueries):
    """Implements every port of the store; the ports document the methods.

    path: the database file, created with mode 0600 if it is missing. tables: of the record sets that it stores. sealer: None:
    rows are neither sealed nor checked.
    Raises StoreUnavailable, RuntimeError.
    """

    lookup_is_nonblocking = True
    newest_schema = len(schema.SQLITE)
    _is_readable = _READABLE
    _is_event = "AND typeof(state) = 'blob'"

    def __init__(
        self, path: Path, tables: Iterable[Table[Any, Any]] = (), sealer: RowSealer | None = None
    ) -> None:
        self._path = path
        self._tables = Tables(tables, sealer)
        make_directory(path.parent)
        with _failures():
            self._shared = share(path)
            try:
                # An existing file must not be opened here: closing it drops the locks that SQLite has in this process.
                with suppress(FileExistsError):
                    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
                sqlite_schema.prepare(path, LOCK_TIMEOUT_SECONDS, self._tables.sealed() if sealer else ())
                self._datastore = _Datastore(uri_of(path))
            except BaseException:
                os.close(self._shared)
                raise
        self._recorder = _Recorder(self._datastore, events_table_name=schema.EVENTS_TABLE)
        self._mapper = JsonMapper()

    def schema_version(self) -> int:
        """Return the number of the store's newest migration."""
        return schema_version_at(self._path)

    def schema_fault(self) -> str:
        """Return the reason why this program must not use the store's schema; empty: it may."""
        return schema.fault(stored_schema_at(self._path), self.newest_schema)

    def load(self, loads: Sequence[Load]) -> LoadedState:
        """Return the committed rows. Raises StoreUnavailable."""
        query = self._tables.load_query(loads, _wanted)
        if query is None:
            return LoadedState()
        parameters = [json.dumps([_hexed(prefix) for prefix in prefixes]) for prefixes in query.prefixes]
        return query.read(self._fetch(query.statement, parameters), self._accepts)

    def _translated_failures(self) -> AbstractContextManager[None]:
        return _failures()

    @contextmanager
    def lease(self, name: str) -> Iterator["_Lease | None"]:
        """Lease a name by a lock on a file beside the database."""
        with ExitStack() as stack:
            with _failures():
                path = self._path.with_name(f"{self._path.name}.{name}.lock")
                is_held = stack.enter_context(locked_file(path, self._path))
            yield _Lease() if is_held else None

    def mistyped_values(self) -> Sequence[str]:
        """Return stored values with a type other than that of their column, which SQLite accepts."""
        return [fault for table in _TABLES for fault in self._mistyped_in(table)]

    def _mistyped_in(self, table: str) -> Iterator[str]:
        columns = [tuple(row) for row in self._fetch(_TABLE_COLUMNS, (table,))]
        checks = [
            f"(typeof({name}) NOT IN ('{type_.lower()}', '{null}')"
            f"{_NO_STREAM.format(name=name) if name in _STREAMS else ''})"
            for name, type_, _, null in columns
        ]
        key = [name for name, _, of_key, _ in columns if of_key]
        rows = self._fetch(
            f"SELECT {', '.join([*key, *checks])} FROM {table} WHERE {' OR '.join(checks)} LIMIT {_MISTYPED}",
            (),
        )
        for row in map(tuple, rows):
            place = ", ".join(f"{name} {value!r}" for name, value in zip(key, row, strict=False))
            for (name, type_, *_), is_wrong in zip(columns, row[len(key) :], strict=True):
                if is_wrong:
                    kind = "a stream id" if name in _STREAMS else type_
                    yield f"table {table}, {place}: column {name} is not {kind}"

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
        """Yield after every change of the file by another connection, by polling: SQLite has no notifications."""
        connection = sqlite3.connect(f"{uri_of(self._path)}?mode=ro", uri=True, isolation_level=None)
        try:
            known, notified = None, 0.0
            while True:
                found = _data_version(connection)
                now = time.monotonic()
                if found != known or now - notified >= _NOTIFY_SECONDS:
                    known, notified = found, now
                    yield
                time.sleep(_POLL_SECONDS)
        finally:
            connection.close()

    def newest_event(self) -> int:
        """Return the number of the newest event in the file; 0: it has no event. Raises StoreUnavailable."""
        [[newest]] = self._fetch(f"SELECT coalesce(max(rowid), 0) FROM {schema.EVENTS_TABLE}", ())
        return cast("int", newest)

    def has_erasure(self, after: int) -> bool:
        """Return whether a user was erased after an event. Raises StoreUnavailable."""
        erasures = f"SELECT 1 FROM {schema.EVENTS_TABLE} WHERE rowid > ? AND topic = ? LIMIT 1"
        return bool(self._fetch(erasures, (after, UserErased.TOPIC)))

    def cut_log(self) -> bool:
        """Move the log into the database and empty its file; False: another connection reads or writes now.

        Until then the log contains former rows, also those of erased users. Raises StoreUnavailable.
        """
        connect = partial(sqlite3.connect, uri_of(self._path), uri=True, timeout=_CUT_WAIT_SECONDS)
        # One connection of a process at a time writes or makes a checkpoint (ADR 21).
        with _failures(), self._datastore.writing(), closing(connect()) as connection:
            [is_busy, _, _] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not is_busy

    def close(self) -> None:
        """Close the connections."""
        self._datastore.close()
        if self._shared >= 0:
            os.close(self._shared)
            self._shared = -1


def uri_of(path: Path) -> str:
    """Return the SQLite URI of a file."""
    return f"file:{quote(str(path))}"


def schema_version_at(path: Path) -> int:
    """Return the number of a store's newest migration; 0 for an empty database. Raises StoreUnavailable."""
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
        """Return True."""
        return True


class _Recorder(SQLiteApplicationRecorder):
    """Inserts the events and the rows of one transaction together."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        changes: Changes = kwargs["changes"]
        tables: Tables = kwargs["tables"]
        # It writes before it reads, so it waits for the lock instead of failing on a stale snapshot.
        with self.datastore.transaction(commit=True) as cursor:
            _insert(cursor, _INSERT_EVENTS, [_event_columns(event) for event in stored_events])
            _insert(cursor, _INSERT_LEDGER, _ledger_rows(cursor, stored_events, changes))
            for guarded in (False, True):
                for storing, rows in tables.steps(changes, guarded=guarded):
                    changed = sum(_store(cursor, storing, chunk) for chunk in _chunks(rows))
                    if guarded and storing.is_counted and changed != len(rows):
                        raise Conflict
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
        # FAST leaves the content of freed pages. ON is the default of some builds of SQLite only.
        connection.execute("PRAGMA secure_delete=ON")
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
        """Yield a connection, to one writer at a time."""
        with self.writing() if commit else nullcontext():
            connection = self.pool.get_connection()
            try:
                self._check_schema(connection)
                yield connection
            except (PersistenceError, sqlite3.Error) as error:
                # A failed connection may still be in its transaction. One that was opened while the file could not be
                # written stays read-only.
                if not isinstance(error, IntegrityError):
                    connection.close()
                raise
            finally:
                self.pool.put_connection(connection)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer of the process.

        In the library's pool, a waiting writer blocks all readers, even those of the event loop; and if it then cannot
        open a connection, the pool never accepts a writer again.
        """
        if not self._writer.acquire(timeout=LOCK_TIMEOUT_SECONDS):
            raise ConnectionUnavailableError("timeout while waiting for other writers")
        try:
            yield
        finally:
            self._writer.release()

    def _check_schema(self, connection: SQLiteConnection) -> None:
        read = partial(sqlite_schema.stored_schema, connection._sqlite_conn)  # noqa: SLF001 - the library hands out cursors only
        try:
            self._guard.check(read)
        except RuntimeError as error:
            raise OperationalError(str(error)) from None


def _data_version(connection: sqlite3.Connection) -> int | None:
    try:
        return cast("int", connection.execute("PRAGMA data_version").fetchone()[0])
    except sqlite3.Error:
        return None  # locked for a moment; the caller polls again


def _hexed(parameters: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(value.hex if isinstance(value, UUID) else value for value in parameters)


def _ledger_rows(cursor: SQLiteCursor, events: Sequence[StoredEvent], changes: Changes) -> list[Row]:
    """Assign the next positions of each client. The transaction already has the write lock."""
    ledger = [columns_of(*pair) for pair in zip(changes.events, changes.subjects, strict=True)]
    position: dict[str, int] = {}
    for client, count in Counter(columns.client_ext_id for columns in ledger).items():
        cursor.execute(_GROW_LEDGER, (client, count))
        position[client] = cursor.fetchone()[0] - count
    rows = []
    for columns, event in zip(ledger, events, strict=True):
        client, stream, version, user, topic, *others = columns
        position[client] += 1
        leaf = leaf_of(client, position[client], stream, version, topic, event.state)
        rows.append((client, position[client], stream.hex, version, user, topic, *others, leaf))
    return rows


def _store(cursor: SQLiteCursor, storing: Storing[Any, Any], rows: Sequence[Row]) -> int:
    """Run a statement for these rows. Returns the number of changed rows."""
    new = f"WITH new ({', '.join(storing.columns)}) AS (VALUES {_marks(rows)})"
    statement = f"{new} {storing.statement.format(new='new')}"
    cursor.execute(statement, _hexed([value for row in rows for value in row]))
    cursor.execute("SELECT changes()")  # the cursor does not count rows behind a WITH
    return cast("int", cursor.fetchone()[0])


def _wanted(prefix: Mapping[str, str]) -> str:
    columns = ", ".join(f"value ->> {number} AS {name}" for number, name in enumerate(prefix))
    return f"(SELECT {columns} FROM json_each(?)) AS wanted"


def _event_columns(event: StoredEvent) -> Row:
    return cast("UUID", event.originator_id).hex, event.originator_version, event.topic, event.state


def _insert(cursor: SQLiteCursor, statement: str, rows: Sequence[Row]) -> None:
    """Insert the rows in few executions: each releases and reacquires the GIL, which is slow beside a busy event loop."""
    for chunk in _chunks(rows):
        cursor.execute(f"{statement} {_marks(chunk)}", [value for columns in chunk for value in columns])


def _marks(rows: Sequence[Row]) -> str:
    return ",".join([f"({','.join('?' * len(rows[0]))})"] * len(rows))


def _chunks(rows: Sequence[Chunked]) -> Iterator[Sequence[Chunked]]:
    """Split the rows into chunks of 128, 64, 32 … 1, so that few different statements are prepared and cached."""
    begin = 0
    while rest := len(rows) - begin:
        count = 1 << (min(rest, _MOST_ROWS).bit_length() - 1)
        yield rows[begin : begin + count]
        begin += count


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise Conflict(str(error)) from error
    except (PersistenceError, sqlite3.Error, OSError) as error:
        raise StoreUnavailable(f"the SQLite store failed: {error}") from error
