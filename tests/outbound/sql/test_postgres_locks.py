"""The order in which a commit locks rows on PostgreSQL: commits that lock in one order cannot deadlock."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg

from application.tickets.erase_user import EraseUser
from interface.composition.register import TABLES
from interface.outbound.sql.postgres_store import PostgresStore
from tests.support.server import until
from tests.support.service import Service, command, service_over

Contending = tuple[Service, psycopg.Connection[Any], psycopg.Connection[Any], ThreadPoolExecutor]

WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)

NEW_ENTRY = """
WITH grown AS (UPDATE ledger_sizes SET size = size + 1 RETURNING client_ext_id, size)
INSERT INTO ledger (client_ext_id, position, stream, version, user_ext_id, topic, occurred, actor, trace_id, leaf)
SELECT client_ext_id, size, gen_random_uuid(), 1, 'user-123', 'AccessNoted', '', '', '', '' FROM grown
"""
NEW_TEXT = """
INSERT INTO details (client_ext_id, user_ext_id, stream, version, salt, reason)
SELECT client_ext_id, user_ext_id, stream, version, '', '' FROM ledger WHERE topic = 'AccessNoted'
"""


@contextmanager
def contending(postgres_url: str) -> Iterator[Contending]:
    """Yield the service, a connection that holds locks, one that observes them, and a thread for the service."""
    with (
        closing(PostgresStore(postgres_url, TABLES)) as store,
        service_over(store) as service,
        psycopg.connect(postgres_url) as holder,
        psycopg.connect(postgres_url, autocommit=True) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        yield service, holder, other, pool


def test_a_commit_locks_its_ledger_before_its_rows(postgres_url: str) -> None:
    with contending(postgres_url) as (service, holder, other, pool):
        service.register()
        service.create()
        holder.execute("SELECT 1 FROM ledger_sizes FOR UPDATE")
        reset = pool.submit(service.regenerate)
        until(lambda: other.execute(WAITING).fetchone() == (1,), "the commit waits for the ledger")

        # Raises LockNotAvailable if the commit has locked the row.
        locked = other.execute(
            "SELECT count(*) FROM (SELECT 1 FROM tickets FOR UPDATE NOWAIT) AS rows"
        ).fetchone()
        holder.commit()

        assert locked == (1,)
        assert reset.result(60).unwrap().body


def test_an_erasure_deletes_a_text_that_is_committed_while_it_waits_for_the_ledger(postgres_url: str) -> None:
    with contending(postgres_url) as (service, holder, other, pool):
        service.register()
        holder.execute(NEW_ENTRY)
        holder.execute(NEW_TEXT)
        erasure = pool.submit(service.execute, command(EraseUser))
        until(lambda: other.execute(WAITING).fetchone() == (1,), "the erasure waits for the ledger")
        holder.commit()
        erasure.result(60)

        assert other.execute("SELECT count(*) FROM details").fetchone() == (0,)
