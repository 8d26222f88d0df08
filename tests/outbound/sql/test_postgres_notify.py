"""Commits wake the readers on PostgreSQL, but no commit depends on it."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import psycopg
import pytest

from interface.composition.register import TABLES
from interface.outbound.sql.postgres_store import PostgresStore
from tests.support.own_postgres import OwnPostgres, own_postgres
from tests.support.server import until
from tests.support.service import Service, service_over

TERMINATE = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND (query LIKE 'NOTIFY%' OR query LIKE 'LISTEN%')
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
USAGE = "SELECT pg_notification_queue_usage() < 0.5"
FILL = "SELECT pg_notify('test', repeat('x', 7000) || number) FROM generate_series(1, 10) AS number"


@pytest.fixture
def own() -> Iterator[OwnPostgres]:
    with own_postgres() as server:
        yield server


@contextmanager
def service_at(url: str) -> Iterator[Service]:
    with closing(PostgresStore(url, TABLES)) as store, service_over(store) as service:
        service.register()
        service.create()
        yield service


@contextmanager
def listening(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection that listens as a process of release 1.0 does."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("LISTEN ticket_events")
        yield connection


def configure(own: OwnPostgres, **settings: str) -> None:
    with psycopg.connect(own.url, autocommit=True) as connection:
        for name, value in settings.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
        connection.execute("SELECT pg_reload_conf()")


def is_woken(listener: psycopg.Connection[Any]) -> bool:
    return bool(list(listener.notifies(timeout=0.1, stop_after=1)))


def commit_and_wait_for_a_standby(
    holder: psycopg.Connection[Any], other: psycopg.Connection[Any], pool: ThreadPoolExecutor
) -> Future[None]:
    """Retry until a commit with a NOTIFY waits: the processes of PostgreSQL read a new setting at different times."""
    while True:
        holder.execute("NOTIFY test")
        holder.execute("INSERT INTO written VALUES (1)")
        commit = pool.submit(holder.commit)
        until(partial(is_done_or_waits, commit, other), "the holder waits for its standby")
        if not commit.done():
            return commit


def is_done_or_waits(commit: Future[None], other: psycopg.Connection[Any]) -> bool:
    return commit.done() or other.execute(WAITING).fetchone() == (1,)


def has_full_queue(connection: psycopg.Connection[Any]) -> bool:
    try:
        connection.execute(FILL)
    except psycopg.OperationalError:
        return True
    return False


def test_a_commit_wakes_a_listener(postgres_url: str) -> None:
    with service_at(postgres_url) as service, listening(postgres_url) as listener:
        service.regenerate()

        assert list(listener.notifies(timeout=10, stop_after=1))


def test_a_commit_that_is_followed_by_the_end_of_its_process_wakes_a_listener(postgres_url: str) -> None:
    with listening(postgres_url) as listener:
        with service_at(postgres_url):
            pass

        assert list(listener.notifies(timeout=10, stop_after=1))


def test_a_full_queue_of_notifications_fails_no_reset(own: OwnPostgres) -> None:
    configure(own, max_notify_queue_pages="64")
    own.stop()
    own.start()
    url = own.new_database()
    with (
        service_at(url) as service,
        psycopg.connect(url) as idle,
        psycopg.connect(url, autocommit=True) as other,
    ):
        idle.execute("LISTEN test")
        idle.commit()
        idle.execute("SELECT 1")  # its transaction stays open, so PostgreSQL keeps every notification
        until(lambda: has_full_queue(other), "the queue is full")

        assert [service.regenerate().version for _ in range(3)] == [2, 3, 4]

        idle.close()
        until(lambda: other.execute(USAGE).fetchone() == (True,), "the queue is empty")
        with listening(url) as listener:
            until(lambda: service.regenerate() and is_woken(listener), "readers are woken again")


def test_a_notification_that_must_wait_delays_no_reset(own: OwnPostgres) -> None:
    url = own.new_database()
    with psycopg.connect(url, autocommit=True) as setup:
        setup.execute("ALTER DATABASE tickets SET synchronous_commit = local")
        setup.execute("CREATE TABLE written (id bigint)")
    with (
        service_at(url) as service,
        psycopg.connect(url) as holder,
        psycopg.connect(url, autocommit=True) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        configure(own, synchronous_standby_names="missing")
        holder.execute("SET synchronous_commit = on")
        holder.commit()
        held = commit_and_wait_for_a_standby(holder, other, pool)
        # It holds the lock of all notifications until its standby confirms the commit.

        assert [service.regenerate().version for _ in range(3)] == [2, 3, 4]

        assert not held.done()
        configure(own, synchronous_standby_names="")
        held.result(60)
        with listening(url) as listener:
            until(lambda: service.regenerate() and is_woken(listener), "readers are woken again")


def test_readers_are_woken_again_when_their_connections_were_terminated(postgres_url: str) -> None:
    with (
        service_at(postgres_url) as service,
        closing(PostgresStore(postgres_url, TABLES)) as reader,
        psycopg.connect(postgres_url, autocommit=True) as other,
    ):
        commits = reader.commits()
        next(commits)
        next(commits)
        until(lambda: other.execute(TERMINATE).fetchone() == (2,), "both connections are terminated")

        assert service.regenerate().version == 2

        assert [next(commits) for _ in range(3)] == [None] * 3
        with listening(postgres_url) as listener:
            until(lambda: service.regenerate() and is_woken(listener), "readers are woken again")
