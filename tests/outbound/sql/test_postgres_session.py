"""Statements with binary arrays in one round trip."""

import asyncio
import socket
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from select import POLLIN
from typing import Any
from uuid import UUID

import psycopg
import pytest
import uvloop

from application.tickets.records import TICKETS
from application.transaction.records import Load
from interface.composition.register import TABLES
from interface.outbound.sql.postgres_session import Session, Statement, Step, _Watch, rows
from interface.outbound.sql.postgres_store import PostgresStore
from tests.support.fakes import SUBJECT
from tests.support.server import PATIENCE_SECONDS, until

TYPES = ("text", "bigint", "bytea", "uuid")
ECHO = Statement(
    "SELECT a, b, c, d::text FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::uuid[]) AS new (a, b, c, d)",
    TYPES,
)
WRITE = Statement("INSERT INTO written SELECT * FROM unnest($1::bigint[])", ("bigint",))
# As many as the pool has connections.
CALLS = 16
COUNT = Statement("SELECT count(*) + cardinality($1) - 1 FROM written", ("bigint",))
DIVIDE = Statement("SELECT 1 / number FROM unnest($1::bigint[]) AS new (number)", ("bigint",))
STREAM = UUID("8e24f7c4-4a6b-4f6e-9a0a-0f9d3c0f7b1e")
VALUES = [
    ("", 0, b"", UUID(int=0)),
    ('é\U0001f511"{},\\', 2**63 - 1, bytes(range(256)), STREAM),
    ("NULL", -(2**63), b"\\x00", STREAM),
    (None, None, None, None),
]


@pytest.fixture
def session(postgres_url: str) -> Iterator[Session]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE written (number bigint PRIMARY KEY)")
    with closing(PostgresStore(postgres_url, TABLES)) as store, closing(Session(store._datastore)) as session:
        yield session


def count(session: Session) -> int:
    [result] = session.run([(COUNT, [[0]])])
    [(number,)] = rows(result, ["bigint"])
    return int(number)


def backend(session: Session) -> int:
    assert session._connection
    return session._connection.info.backend_pid


def uvloop_runner() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


@pytest.mark.parametrize("values", [VALUES, VALUES[:1], [], VALUES * 5_000])
@pytest.mark.parametrize("on_loop", [False, True])
def test_values_are_returned_as_they_were_sent(
    session: Session, values: list[tuple[object, ...]], *, on_loop: bool
) -> None:
    steps = [(ECHO, list(zip(*values, strict=True)) or [()] * 4)]
    [result] = asyncio.run(session.run_on_loop(steps)) if on_loop else session.run(steps)

    expected = [
        (text, number, octets, str(stream) if stream else None) for text, number, octets, stream in values
    ]
    assert rows(result, ["text", "bigint", "bytea", "text"]) == expected


def test_a_reset_of_the_connection_ends_the_wait() -> None:
    """Otherwise the commits of a server would never end."""
    ours, theirs = socket.socketpair()
    ours.send(b"unread, so that the end is a reset")

    def receive() -> Generator[int, None, list[Any]]:
        yield POLLIN
        with pytest.raises(ConnectionResetError):
            ours.recv(1)
        return []

    async def wait_for_the_reset() -> list[Any]:
        asyncio.get_running_loop().call_later(0.01, theirs.close)
        async with asyncio.timeout(PATIENCE_SECONDS):
            with closing(_Watch(ours.fileno(), asyncio.get_running_loop())) as watch:
                found = await watch.results(receive())
                return list(found)

    with closing(ours), uvloop_runner() as runner:
        assert runner.run(wait_for_the_reset()) == []


def test_a_session_serves_several_event_loops(session: Session) -> None:
    with uvloop_runner() as one, uvloop_runner() as other:
        for number, runner in enumerate([one, other, one, one, other]):
            runner.run(session.run_on_loop([(WRITE, [[number]])]))
            session.run([(WRITE, [[100 + number]])])

        assert count(session) == 10


def test_an_event_loop_ignores_a_connection_that_was_closed_while_idle(
    session: Session, postgres_url: str
) -> None:
    """Otherwise the loop would run without end, or refuse the next connection with the same file descriptor."""
    with uvloop_runner() as runner:
        for number in range(3):
            runner.run(session.run_on_loop([(WRITE, [[number]])]))
            with psycopg.connect(postgres_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 10000)", (backend(session),))
            assert session._watch
            while session._watch._is_watched:
                runner.run(asyncio.sleep(0))

        assert count(session) == 3


def test_all_statements_are_one_transaction(session: Session) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        session.run([(WRITE, [[1]]), (DIVIDE, [[0]]), (WRITE, [[2]])])
    assert count(session) == 0

    session.run([(WRITE, [[1]]), (WRITE, [[2]])])
    assert count(session) == 2


def test_data_that_are_refused_leave_the_connection_open(session: Session) -> None:
    session.run([(WRITE, [[1]])])
    process = backend(session)

    refused: list[Step] = [(WRITE, [[1]]), (DIVIDE, [[0]]), (ECHO, [["\0"], [1], [b""], [STREAM]])]
    for step in refused:
        with pytest.raises((psycopg.IntegrityError, psycopg.DataError)):
            session.run([step])

    assert (count(session), backend(session)) == (1, process)


def test_a_connection_that_was_closed_while_idle_is_replaced(session: Session, postgres_url: str) -> None:
    session.run([(WRITE, [[1]])])
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", (backend(session),))

    assert count(session) == 1


def test_a_connection_that_fails_in_a_statement_is_replaced(session: Session) -> None:
    end = Statement("SELECT pg_terminate_backend(pg_backend_pid()) FROM unnest($1::bigint[])", ("bigint",))
    with pytest.raises(psycopg.OperationalError):
        session.run([(WRITE, [[1]]), (end, [[1]])])

    assert count(session) == 0


def test_a_cancelled_call_closes_its_connection(session: Session) -> None:
    sleep = Statement("SELECT pg_sleep(60) FROM unnest($1::bigint[])", ("bigint",))

    async def cancelled() -> None:
        await session.run_on_loop([(COUNT, [[0]])])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await session.run_on_loop([(sleep, [[1]])])

    asyncio.run(cancelled())

    assert count(session) == 0


def test_a_wait_that_was_cancelled_by_the_server_fails(session: Session) -> None:
    slow = Statement(
        "SELECT set_config('statement_timeout', '50ms', false) FROM unnest($1::bigint[])", ("bigint",)
    )
    sleep = Statement("SELECT pg_sleep(60) FROM unnest($1::bigint[])", ("bigint",))
    session.run([(slow, [[1]])])

    with pytest.raises(psycopg.errors.QueryCanceled):
        session.run([(sleep, [[1]])])


def test_many_calls_at_the_same_time_leave_connections_for_queries(postgres_url: str) -> None:
    loads = [Load(TICKETS, SUBJECT)]
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with closing(PostgresStore(postgres_url, TABLES)) as store, ThreadPoolExecutor(CALLS) as threads:
        with (
            psycopg.connect(postgres_url) as holder,
            psycopg.connect(postgres_url, autocommit=True) as other,
        ):
            holder.execute("LOCK TABLE tickets")
            found = [threads.submit(store.load, loads) for _ in range(CALLS)]
            until(lambda: other.execute(waiting).fetchone() == (CALLS,), "every connection of the pool waits")
        assert all(not call.result().all(TICKETS) for call in found)

        assert not store.has_sealed()
