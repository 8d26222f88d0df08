"""The disk is full: callers get a 503, and with space again the service recovers by itself without a loss."""

import time
from pathlib import Path
from typing import Any

from tests.support.disks import full, small_disk
from tests.support.load import Load, tracebacks, under_load
from tests.support.own_postgres import own_postgres
from tests.support.server import Server, serving

QUICK: Any = {"TICKETS_DELIVERY_RETRY_SECONDS": "0.5", "TICKETS_DELIVERY_LEASE_SECONDS": "2"}
RECOVERS_WITHIN_SECONDS = 10


def fill(disk: Path, load: Load) -> float:
    """Fill the disk and free it again; return the time until the service has recovered."""
    with full(disk):
        load.refused(time.monotonic())
        time.sleep(0.5)
    recovery = load.answers_again(time.monotonic())
    load.wait_for_resets(50)
    load.ready_again(time.monotonic())
    return recovery


def assert_recovered(load: Load, server: Server, recoveries: list[float]) -> None:
    load.stop()
    load.assert_that_it_was_bearable()
    load.assert_nothing_lost()
    assert max(recoveries) < RECOVERS_WITHIN_SECONDS
    assert not tracebacks(server)


def test_a_full_disk_under_sqlite_the_mails_and_the_keys_loses_no_confirmed_reset(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/var/tickets.db"
    with (
        small_disk(tmp_path / "var", 48) as disk,
        serving(tmp_path, url, **QUICK) as server,
        under_load(server) as load,
    ):
        recoveries = [fill(disk, load)]
        load.report("disk full, SQLite", recoveries)
        assert_recovered(load, server, recoveries)


def test_a_full_disk_under_postgres_loses_no_confirmed_reset(tmp_path: Path) -> None:
    with (
        own_postgres(megabytes=160) as postgres,
        serving(tmp_path, postgres.new_database(), **QUICK) as server,
        under_load(server) as load,
    ):
        recoveries = [fill(postgres.disk, load)]
        load.report("disk full, PostgreSQL", recoveries)
        assert_recovered(load, server, recoveries)


def test_no_space_for_the_log_of_postgres_loses_no_confirmed_reset(tmp_path: Path) -> None:
    """PostgreSQL then exits (PANIC), and recovers when its supervisor restarts it and there is space."""
    with (
        own_postgres(megabytes=160) as postgres,
        serving(tmp_path, postgres.new_database(), **QUICK) as server,
        under_load(server) as load,
    ):
        with full(postgres.disk):
            postgres.use_up_the_log()
            load.refused(time.monotonic())
            time.sleep(0.5)
        freed = time.monotonic()
        postgres.start()
        recoveries = [load.answers_again(freed)]
        load.ready_again(time.monotonic())
        load.report("no space for the log, PostgreSQL", recoveries)
        assert_recovered(load, server, recoveries)
