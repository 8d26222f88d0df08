"""The database is stopped, disconnected or locked under load: callers get a 503 until it is back."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.load import tracebacks, under_load
from tests.support.own_postgres import OwnPostgres, own_postgres
from tests.support.server import serving

RECOVERS_WITHIN_SECONDS = 10
QUICK = {"TICKETS_DELIVERY_LEASE_SECONDS": "2"}
# Longer than a commit waits for a lock.
LOCKED_SECONDS = 7


@pytest.fixture(scope="module")
def postgres() -> Iterator[OwnPostgres]:
    with own_postgres() as own:
        yield own


def test_postgres_stopped_and_started_loses_no_confirmed_reset(postgres: OwnPostgres, tmp_path: Path) -> None:
    with serving(tmp_path, postgres.new_database(), **QUICK) as server, under_load(server) as load:
        recoveries = []
        for how in ("fast", "immediate"):
            postgres.stop(how)
            stopped = time.monotonic()
            load.refused(stopped)
            load.refused(stopped, "/readyz")
            postgres.start()
            recoveries.append(load.answers_again(time.monotonic()))
            load.wait_for_resets(50)
        load.ready_again(time.monotonic())
        load.stop()
        load.report("PostgreSQL stopped and started", recoveries)
        load.assert_that_it_was_bearable()
        load.assert_nothing_lost()
        assert max(recoveries) < RECOVERS_WITHIN_SECONDS
        assert not tracebacks(server)


def test_repeatedly_killed_connections_cost_no_answered_reset(postgres: OwnPostgres, tmp_path: Path) -> None:
    with serving(tmp_path, postgres.new_database(), **QUICK) as server, under_load(server) as load:
        recoveries, killed = [], 0
        for _ in range(10):
            killed += postgres.end_connections()
            recoveries.append(load.answers_again(time.monotonic()))
            load.wait_for_resets(20)
        load.stop()
        load.report(f"{killed} connections killed", recoveries)
        load.assert_that_it_was_bearable()
        load.assert_nothing_lost()
        assert max(recoveries) < RECOVERS_WITHIN_SECONDS
        assert killed >= len(recoveries)
        assert not tracebacks(server)


def test_a_long_foreign_lock_on_the_sqlite_file_loses_no_confirmed_reset(
    sqlite_url: str, tmp_path: Path
) -> None:
    with serving(tmp_path, sqlite_url, **QUICK) as server, under_load(server) as load:
        with closing(sqlite3.connect(tmp_path / "var" / "tickets.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            load.refused(time.monotonic())
            time.sleep(LOCKED_SECONDS)
        recoveries = [load.answers_again(time.monotonic())]
        load.ready_again(time.monotonic())
        load.stop()
        load.report("SQLite locked by another", recoveries)
        load.assert_that_it_was_bearable()
        load.assert_nothing_lost()
        assert max(recoveries) < RECOVERS_WITHIN_SECONDS
        assert not tracebacks(server)
