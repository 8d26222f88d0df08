"""The connections of a process to a SQLite file: one at a time writes, and the others read.

They replace the pool of the library, whose wrappers of a connection, a transaction and a cursor cost more than a statement.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from threading import Lock
from typing import Any
from uuid import UUID

from interface.outbound.sql import schema, sqlite_schema
from interface.outbound.sql.sqlite_turn import WriterTurn

LOCK_TIMEOUT_SECONDS = 5
# 40 MB: a page that many commits change is written to the database once for all of them.
CHECKPOINT_PAGES = 10_000
_CACHED_STATEMENTS = 128
_IDLE_READERS = 8
# A checkpoint can take longer than the event loop may wait, so that every hundredth commit is one that can make it.
_COMMITS_BETWEEN_CHECKPOINTS = 100

# Streams are stored as 32 hex digits.
sqlite3.register_adapter(UUID, lambda value: value.hex)


class WriterBusy(Exception):
    """Another connection writes now, of this process or of another one."""


class Connections:
    """Opens connections, and uses each by one thread at a time.

    processes: the turn of this process to write. Raises OSError, and sqlite3.Error, also if the schema is unusable.

    A connection that fails is closed: it may still be in its transaction, and one that was opened while the file could not be
    written stays read-only.
    """

    def __init__(self, uri: str, processes: WriterTurn) -> None:
        self._uri = uri
        self._processes = processes
        self._guard = schema.SchemaGuard(len(schema.SQLITE))
        self._turn = Lock()
        # By whether it waits for other writers and makes checkpoints.
        self._writers: dict[bool, sqlite3.Connection] = {}
        self._newest: sqlite3.Connection | None = None
        self._readers: list[sqlite3.Connection] = []
        self._until_checkpoint = _COMMITS_BETWEEN_CHECKPOINTS
        self._is_closed = False

    def fetch(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """Return the rows of a query."""
        try:
            connection = self._readers.pop()
        except IndexError:
            connection = self._open()
        try:
            rows = self._query(connection, statement, parameters)
        except BaseException:
            connection.close()
            raise
        if self._is_closed or len(self._readers) >= _IDLE_READERS:
            connection.close()
        else:
            self._readers.append(connection)
        return rows

    def fetch_newest(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """Return the rows of a query, if possible by the connection that wrote last: only its cache is still valid."""
        if self._turn.acquire(blocking=False):
            try:
                if self._newest:
                    return self._query(self._newest, statement, parameters)
            except sqlite3.Error:
                self._close_writers()  # another connection reads again, and raises a lasting fault
            finally:
                self._turn.release()
        return self.fetch(statement, parameters)

    def _query(self, connection: sqlite3.Connection, statement: str, parameters: Sequence[Any]) -> list[Any]:
        self._check(connection)
        return connection.execute(statement, parameters).fetchall()

    @contextmanager
    def transaction(self, *, waits: bool = True) -> Iterator[sqlite3.Connection]:
        """Yield a connection in a transaction that is committed, by one writer at a time (ADR 21).

        waits: False: raises WriterBusy, if another connection writes, or if a checkpoint may be due.
        """
        with self.writing(waits=waits):
            if not waits and not self._until_checkpoint:
                raise WriterBusy
            connection = self._writers.get(waits) or self._open_writer(waits=waits)
            try:
                self._check(connection)
                self._begin(connection, waits=waits)
                yield connection
                connection.execute("COMMIT")
            except BaseException as error:
                if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError):
                    self._close_writers()
                else:
                    connection.rollback()
                raise
            self._newest = connection
            self._until_checkpoint = _COMMITS_BETWEEN_CHECKPOINTS if waits else self._until_checkpoint - 1

    def _begin(self, connection: sqlite3.Connection, *, waits: bool) -> None:
        # It locks before it reads, so it waits for the lock instead of failing on a stale snapshot.
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not waits and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise WriterBusy from None
            raise

    @contextmanager
    def writing(self, *, waits: bool = True) -> Iterator[None]:
        """Be the only writer of the processes of the service. waits: False: raises WriterBusy if there is another one."""
        if not self._turn.acquire(timeout=LOCK_TIMEOUT_SECONDS if waits else 0):
            if not waits:
                raise WriterBusy
            raise sqlite3.OperationalError("timeout while waiting for other writers")
        try:
            if self._is_closed:
                raise sqlite3.ProgrammingError("the store is closed")  # the file of the turn is closed, too
            with self._turn_among_processes(waits=waits):
                yield
        finally:
            self._turn.release()

    @contextmanager
    def _turn_among_processes(self, *, waits: bool) -> Iterator[None]:
        if waits:
            with self._processes.taken(LOCK_TIMEOUT_SECONDS):
                yield
        elif self._processes.take():
            try:
                yield
            finally:
                self._processes.pass_on()
        else:
            raise WriterBusy

    def close(self) -> None:
        """Close the idle connections; one that is in use is closed after it."""
        with suppress(sqlite3.OperationalError, TimeoutError), self.writing():
            self._close_writers()
            self._is_closed = True
        self._is_closed = True
        while self._readers:
            self._readers.pop().close()

    def _close_writers(self) -> None:
        self._newest = None
        while self._writers:
            self._writers.popitem()[1].close()

    def _open_writer(self, *, waits: bool) -> sqlite3.Connection:
        connection = self._writers[waits] = self._open(waits=waits)
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES if waits else 0}")
        return connection

    def _open(self, *, waits: bool = True) -> sqlite3.Connection:
        if self._is_closed:
            raise sqlite3.ProgrammingError("the store is closed")
        connection = sqlite3.connect(
            self._uri,
            uri=True,
            check_same_thread=False,
            isolation_level=None,
            cached_statements=_CACHED_STATEMENTS,
            timeout=LOCK_TIMEOUT_SECONDS if waits else 0,
        )
        connection.execute("PRAGMA synchronous=FULL")
        # FAST leaves the content of freed pages. ON is the default of some builds of SQLite only.
        connection.execute("PRAGMA secure_delete=ON")
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        try:
            self._guard.check(partial(sqlite_schema.stored_schema, connection))
        except RuntimeError as error:
            raise sqlite3.OperationalError(str(error)) from None
