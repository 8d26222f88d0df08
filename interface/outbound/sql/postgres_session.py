"""Statements on one connection to PostgreSQL: prepared, with binary arrays, in one transaction and one round trip.

It uses libpq below the cursors of psycopg, which adapt and parse each parameter of each execution: for a commit of one event
that took more processor time than the transaction on the server. Its plans are generic, since a plan for given arrays
costs more than the transaction, too; and they use indexes only, since they stay while the tables grow.
"""

import asyncio
import struct
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from select import POLLIN, POLLOUT, epoll, poll
from time import monotonic
from typing import Any, NamedTuple

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

from interface.outbound.sql.postgres_connections import Connection, Datastore, require_synchronous_replication

_SETTINGS = (
    b"SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;"
    b" SET enable_mergejoin = off; SET jit = off"
)
# As long as a connection of the pool.
_LIFETIME_SECONDS = 3600
# By the names of types: the identifiers of the type and of its array in every PostgreSQL, and the bytes of a value.
_TYPES: Mapping[str, tuple[int, int, Callable[[Any], bytes]]] = {
    "text": (25, 1009, str.encode),
    "bigint": (20, 1016, struct.Struct("!q").pack),
    "bytea": (17, 1001, bytes),
    "uuid": (2950, 2951, lambda value: value.bytes),
}
_READ: Mapping[str, Callable[[bytes], Any]] = {
    "text": bytes.decode,
    "bigint": lambda value: int.from_bytes(value, "big", signed=True),
    "bytea": bytes,
}
_LENGTH = struct.Struct("!i").pack
# Dimensions, whether there are NULLs, the type; and of the dimension, the length and the first index.
_EMPTY, _ARRAY = struct.Struct("!3i").pack, struct.Struct("!5i").pack
_NULL = _LENGTH(-1)


class Statement(NamedTuple):
    """A statement whose parameters $1, $2 … are arrays of these types (text, bigint, bytea, uuid)."""

    text: str
    types: tuple[str, ...]


Step = tuple[Statement, Sequence[Sequence[Any]]]
"""A statement with its arrays."""

_Receiving = Generator[int, None, list[pq.abc.PGresult]]


def unnest(types: Sequence[str], first: int = 1) -> str:
    """Return the relation of such columns, given as arrays. first: the number of the first parameter."""
    return f"unnest({', '.join(f'${number}::{name}[]' for number, name in enumerate(types, first))})"


def required(condition: str) -> str:
    """Return the expression that fails with InvalidTextRepresentation if the condition is false.

    PostgreSQL has no expression to raise an error, and writes the text of this one to its log.
    """
    return f"(CASE WHEN {condition} THEN '1' ELSE 'conflict: another process changed a row' END)::integer"


def columns(rows: Sequence[Sequence[Any]], width: int) -> list[Any]:
    """Turn rows into the arrays that unnest takes, so that any number of rows is one prepared statement."""
    return list(zip(*rows, strict=True)) or [()] * width


class _Watch:
    """Continues to receive on one event loop, whenever a socket is ready.

    The loop watches an epoll object that has the socket: libpq closes that of a lost connection, and uvloop then refuses the
    next one with the same file descriptor. The loop watches it between two uses, too: to begin and to end costs ten system calls.
    """

    def __init__(self, socket: int, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._socket = socket
        self._epoll = epoll()
        self._epoll.register(socket, POLLIN)
        self._events: int = POLLIN
        self._is_watched = False
        self._receiving: _Receiving | None = None
        self._received: asyncio.Future[list[pq.abc.PGresult]]

    async def results(self, receiving: _Receiving) -> list[pq.abc.PGresult]:
        """Return the results. Raises psycopg.Error."""
        self._receiving, self._received = receiving, self.loop.create_future()
        try:
            self._continue()
            if not self._is_watched:
                self.loop.add_reader(self._epoll.fileno(), self._continue)
                self._is_watched = True
            return await self._received
        finally:
            self._receiving = None

    def close(self) -> None:
        """Stop watching, from any thread."""
        try:
            self.loop.call_soon_threadsafe(self._close)
        except RuntimeError:  # the loop is closed
            self._epoll.close()

    def _close(self) -> None:
        self._ignore()
        self._epoll.close()

    def _continue(self) -> None:
        if self._receiving is None:
            # A message between two uses; the next use reads it.
            self._ignore()
            return
        try:
            events = next(self._receiving)
        except StopIteration as received:
            self._receiving = None
            self._received.set_result(received.value)
        except psycopg.Error as error:
            self._receiving = None
            self._received.set_exception(error)
        else:
            if events != self._events:
                self._epoll.modify(self._socket, events)
                self._events = events

    def _ignore(self) -> None:
        if self._is_watched:
            self.loop.remove_reader(self._epoll.fileno())
            self._is_watched = False


class Session:
    """One connection, used by one caller at a time; it connects on first use.

    After a failure the next call uses another connection, unless PostgreSQL only refused the data.
    """

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore
        self._held = ExitStack()
        self._connection: Connection | None = None
        self._watch: _Watch | None = None
        self._until = 0.0
        self._prepared: dict[Statement, bytes] = {}

    @property
    def is_open(self) -> bool:
        """Whether it has a connection."""
        return self._connection is not None

    def run(self, steps: Sequence[Step]) -> list[pq.abc.PGresult]:
        """Execute the statements in one transaction, and return the result of each.

        Raises psycopg.Error and OperationalError of the library.
        """
        messages = list(map(_message, steps))
        with self._closed_by_failures():
            connection = self._open(steps)
            with self._receiving(connection, messages) as receiving:
                return _wait(connection.pgconn.socket, receiving)

    async def run_on_loop(self, steps: Sequence[Step]) -> list[pq.abc.PGresult]:
        """Do the same, but wait on the event loop."""
        messages = list(map(_message, steps))
        with self._closed_by_failures():
            connection = self._usable(steps)
            if connection is None:
                connection = await asyncio.to_thread(self._open, steps)
            with self._receiving(connection, messages) as receiving:
                return await self._watch_on_loop(connection).results(receiving)

    def close(self) -> None:
        """Close the connection; the next call opens another one."""
        connection, self._connection = self._connection, None
        self._end_watch()
        if connection is not None:
            connection.close()  # its settings are not those of the pool
        self._held.close()

    def _watch_on_loop(self, connection: Connection) -> _Watch:
        loop = asyncio.get_running_loop()
        if self._watch is None or self._watch.loop is not loop:
            self._end_watch()
            self._watch = _Watch(connection.pgconn.socket, loop)
        return self._watch

    def _end_watch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    @contextmanager
    def _closed_by_failures(self) -> Iterator[None]:
        try:
            yield
        except (psycopg.IntegrityError, psycopg.DataError):
            raise
        except BaseException:
            self.close()
            raise

    def _usable(self, steps: Sequence[Step]) -> Connection | None:
        """Return the connection if it is open and has prepared the statements, and the schema was checked."""
        connection = self._connection
        if connection is None or self._datastore.is_schema_check_due or monotonic() > self._until:
            return None
        is_prepared = all(statement in self._prepared for statement, _ in steps)
        return connection if is_prepared and not _is_lost(connection.pgconn) else None

    def _open(self, steps: Sequence[Step]) -> Connection:
        if connection := self._usable(steps):
            return connection
        connection = self._connection
        if connection is not None and (monotonic() > self._until or _is_lost(connection.pgconn)):
            self.close()
            connection = None
        if connection is None:
            connection = self._held.enter_context(self._datastore.unguarded())
            self._connection, self._prepared = connection, {}
            self._until = monotonic() + _LIFETIME_SECONDS
            connection.execute(_SETTINGS)
        self._datastore.check_schema(connection)
        for statement, _ in steps:
            if statement not in self._prepared:
                name = b"session_%d" % len(self._prepared)
                types = [_TYPES[kind][1] for kind in statement.types]
                _check(connection.pgconn.prepare(name, statement.text.encode(), types))
                self._prepared[statement] = name
        return connection

    @contextmanager
    def _receiving(
        self, connection: Connection, messages: Sequence[tuple[Statement, Sequence[bytes]]]
    ) -> Iterator[_Receiving]:
        """Send the statements, and yield the generator of their results."""
        pgconn = connection.pgconn
        with require_synchronous_replication(connection):
            pgconn.enter_pipeline_mode()
            for statement, parameters in messages:
                formats = [pq.Format.BINARY] * len(parameters)
                pgconn.send_query_prepared(self._prepared[statement], parameters, formats, pq.Format.BINARY)
            pgconn.pipeline_sync()
            yield _receive(pgconn)


def _message(step: Step) -> tuple[Statement, Sequence[bytes]]:
    statement, arrays = step
    return statement, list(map(array, statement.types, arrays))


def rows(result: pq.abc.PGresult, types: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the rows of a result with columns of these types (text, bigint, bytea)."""
    readers = [(column, _READ[kind]) for column, kind in enumerate(types)]
    value = result.get_value
    return [
        tuple([None if (found := value(row, column)) is None else read(found) for column, read in readers])
        for row in range(result.ntuples)
    ]


def array(kind: str, values: Sequence[Any]) -> bytes:
    """Return an array in the binary format of PostgreSQL; None is NULL."""
    element, _, to_bytes = _TYPES[kind]
    if not values:
        return _EMPTY(0, 0, element)
    parts = [_ARRAY(1, int(None in values), element, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            content = to_bytes(value)
            parts += (_LENGTH(len(content)), content)
    return b"".join(parts)


def _wait(socket: int, receiving: _Receiving) -> list[pq.abc.PGresult]:
    waiting = poll()
    try:
        while True:
            waiting.register(socket, next(receiving))
            waiting.poll()
    except StopIteration as received:
        results: list[pq.abc.PGresult] = received.value
        return results


def _receive(pgconn: pq.abc.PGconn) -> _Receiving:
    """Yield the events of the socket to wait for, and return the results. Raises psycopg.Error."""
    while pgconn.flush():
        _check_open(pgconn)
        yield POLLIN | POLLOUT
        pgconn.consume_input()  # a server that cannot send does not read
    results: list[pq.abc.PGresult] = []
    while True:
        while pgconn.is_busy():
            _check_open(pgconn)
            yield POLLIN
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            _check_open(pgconn)
        elif result.status == pq.ExecStatus.PIPELINE_SYNC:
            pgconn.exit_pipeline_mode()
            for found in results:
                _check(found)
            return results
        else:
            results.append(result)


def _check_open(pgconn: pq.abc.PGconn) -> None:
    # libpq closes the socket of a lost connection; a wait for it would never end.
    if pgconn.status == pq.ConnStatus.BAD:
        raise psycopg.OperationalError("the connection was lost")


def _check(result: pq.abc.PGresult) -> None:
    if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
        raise error_from_result(result, "utf-8")


def _is_lost(pgconn: pq.abc.PGconn) -> bool:
    """Return whether an idle connection was closed by the other side."""
    idle = poll()
    try:
        idle.register(pgconn.socket, POLLIN)
        # The reason comes before the end.
        while idle.poll(0):
            pgconn.consume_input()
    except psycopg.Error:
        return True
    return pgconn.status != pq.ConnStatus.OK
