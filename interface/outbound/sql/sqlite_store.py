"""The embedded store: one SQLite file with a write-ahead log; every commit is synced to disk before the response."""

import os
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote
from uuid import UUID

import msgspec
from eventsourcing.persistence import StoredEvent

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
from interface.outbound.sql.sqlite_connections import LOCK_TIMEOUT_SECONDS, Connections, WriterBusy
from interface.outbound.sql.sqlite_lock import share
from interface.outbound.sql.sqlite_turn import WriterTurn
from interface.outbound.sql.table import Row, Storing, Table
from interface.outbound.sql.tables import Tables

_encode_prefixes = msgspec.json.Encoder(uuid_format="hex").encode
_MOST_ROWS = 128
_MOST_VERSIONS = 2**63 - 1
_POLL_SECONDS = 0.005
_NOTIFY_SECONDS = 1
_CUT_WAIT_SECONDS = 0.1
_GROW_LEDGERS = """
INSERT INTO ledger_sizes (client_ext_id, size) SELECT client_ext_id, size FROM new WHERE true
ON CONFLICT DO UPDATE SET size = ledger_sizes.size + excluded.size RETURNING client_ext_id, size
"""
_EVENT_COLUMNS = ("originator_id", "originator_version", "topic", "state")
_SELECT_EVENTS = f"SELECT {', '.join(_EVENT_COLUMNS)} FROM {schema.EVENTS_TABLE} WHERE originator_id = ?"
_LEDGER_COLUMNS = (
    "client_ext_id",
    "position",
    "stream",
    "version",
    "user_ext_id",
    "topic",
    "occurred",
    "actor",
    "trace_id",
    "leaf",
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
    _seeks = True

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
                turn = WriterTurn(self._shared)
                with turn.taken(LOCK_TIMEOUT_SECONDS):
                    sqlite_schema.prepare(path, LOCK_TIMEOUT_SECONDS, self._tables.sealed() if sealer else ())
                self._connections = Connections(uri_of(path), turn)
            except BaseException:
                os.close(self._shared)
                raise
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
        parameters = [_encode_prefixes(prefixes).decode() for prefixes in query.prefixes]
        with _failures():
            rows = self._connections.fetch_newest(query.statement, parameters)
        return query.read(rows, self._accepts)

    def commit(self, changes: Changes) -> None:
        """Store all changes durably, or none. Raises Conflict, StoreUnavailable."""
        self._commit(changes, waits=True)

    def commit_if_free(self, changes: Changes) -> bool:
        """Store the changes like `commit`, unless it would wait for another writer or a checkpoint: False."""
        try:
            self._commit(changes, waits=False)
        except WriterBusy:
            return False
        return True

    def _commit(self, changes: Changes, *, waits: bool) -> None:
        events = [self._mapper.to_stored_event(event) for event in changes.events]
        with _failures():
            steps = self._tables.steps(changes, guarded=False)
            guarded_steps = self._tables.steps(changes, guarded=True)
            with self._connections.transaction(waits=waits) as connection:
                _insert(connection, schema.EVENTS_TABLE, _EVENT_COLUMNS, map(_event_columns, events))
                _insert(connection, "ledger", _LEDGER_COLUMNS, _ledger_rows(connection, events, changes))
                for storing, rows in steps:
                    _store(connection, storing, rows)
                for storing, rows in guarded_steps:
                    before = connection.total_changes
                    _store(connection, storing, rows)
                    if storing.is_counted and connection.total_changes - before != len(rows):
                        raise Conflict

    def _stored_events(self, stream: UUID, after: int | None, last: int | None) -> Sequence[StoredEvent]:
        condition = "AND originator_version > ? AND originator_version <= ? ORDER BY originator_version"
        bounds = (after or 0, _MOST_VERSIONS if last is None else last)
        rows = self._fetch(f"{_SELECT_EVENTS} {condition}", (stream, *bounds))
        return [StoredEvent(stream, version, topic, state) for _, version, topic, state in rows]

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
        with _failures():
            return self._connections.fetch(statement, parameters)

    def _change(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        with _failures(), self._connections.transaction() as connection:
            return connection.execute(statement, parameters).fetchall()

    def _run(self, statement: str, rows: Sequence[Row]) -> None:
        with _failures(), self._connections.transaction() as connection:
            connection.executemany(statement, rows)

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
        with _failures(), self._connections.writing(), closing(connect()) as connection:
            [is_busy, _, _] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not is_busy

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()
        if self._shared >= 0:
            os.close(self._shared)
            self._shared = -1


def uri_of(path: Path) -> str:
    """Return the SQLite URI of a file, whose name can have any bytes."""
    # With an empty authority: a path can begin with two slashes.
    return f"file:{'//' if path.is_absolute() else ''}{quote(os.fsencode(path))}"


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


def _data_version(connection: sqlite3.Connection) -> int | None:
    try:
        return cast("int", connection.execute("PRAGMA data_version").fetchone()[0])
    except sqlite3.Error:
        return None  # locked for a moment; the caller polls again


def _ledger_rows(
    connection: sqlite3.Connection, events: Sequence[StoredEvent], changes: Changes
) -> list[Row]:
    """Assign the next positions of each client. The transaction already has the write lock."""
    ledger = [columns_of(*pair) for pair in zip(changes.events, changes.subjects, strict=True)]
    counts = Counter([columns.client_ext_id for columns in ledger])
    grown = _execute(connection, ("client_ext_id", "size"), list(counts.items()), _GROW_LEDGERS)
    position = {client: size - counts[client] for client, size in grown}
    rows = []
    for columns, event in zip(ledger, events, strict=True):
        client, stream, version, user, topic, *others = columns
        position[client] += 1
        leaf = leaf_of(client, position[client], stream, version, topic, event.state)
        rows.append((client, position[client], stream.hex, version, user, topic, *others, leaf))
    return rows


def _store(connection: sqlite3.Connection, storing: Storing[Any, Any], rows: Sequence[Row]) -> None:
    """Run a statement for these rows."""
    _execute(connection, tuple(storing.columns), rows, storing.statement.format(new="new"))


def _insert(connection: sqlite3.Connection, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Insert the rows. It names the columns: a store of the next release may have more (ADR 12)."""
    names = ", ".join(columns)
    _execute(connection, columns, list(rows), f"INSERT INTO {table} ({names}) SELECT {names} FROM new")


def _execute(
    connection: sqlite3.Connection, columns: Sequence[str], rows: Sequence[Row], statement: str
) -> list[Any]:
    """Run a statement for the rows of the relation `new` with these columns. Returns its rows.

    The number of rows in a statement is a power of two, so that few different statements are prepared and cached: the missing
    rows are NULL, and are left out. One execution for each row (`executemany`) takes a third longer, and rows as JSON twice as
    long.
    """
    returned = []
    for begin in range(0, len(rows), _MOST_ROWS):
        chunk = rows[begin : begin + _MOST_ROWS]
        count = 1 << (len(chunk) - 1).bit_length()
        values = [value for row in chunk for value in row]
        values += [None] * ((count - len(chunk)) * len(columns))
        values.append(len(chunk))
        returned += connection.execute(_with_rows(columns, count, statement), values).fetchall()
    return returned


@cache
def _with_rows(columns: Sequence[str], count: int, statement: str) -> str:
    marks = ",".join([f"({','.join('?' * len(columns))})"] * count)
    return f"WITH new ({', '.join(columns)}) AS (SELECT * FROM (VALUES {marks}) LIMIT ?) {statement}"


def _wanted(prefix: Mapping[str, str]) -> str:
    columns = ", ".join(f"value ->> {number} AS {name}" for number, name in enumerate(prefix))
    return f"(SELECT {columns} FROM json_each(?)) AS wanted"


def _event_columns(event: StoredEvent) -> Row:
    return event.originator_id, event.originator_version, event.topic, event.state


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise Conflict(str(error)) from error
    except (sqlite3.Error, OSError) as error:
        raise StoreUnavailable(f"the SQLite store failed: {error}") from error
