"""The order in which a commit locks rows on PostgreSQL: commits that lock in one order cannot deadlock."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg

from interface.composition.register import TABLES
from interface.outbound.sql.postgres_store import PostgresStore
from tests.support.server import until
from tests.support.service import service_over

WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def test_a_commit_locks_its_ledger_before_its_rows(postgres_url: str) -> None:
    with (
        closing(PostgresStore(postgres_url, TABLES)) as store,
        service_over(store) as service,
        psycopg.connect(postgres_url) as holder,
        psycopg.connect(postgres_url, autocommit=True) as other,
        ThreadPoolExecutor(1) as pool,
    ):
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
