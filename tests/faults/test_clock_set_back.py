"""The clock is set back by an hour under load: versions, ledger, tokens, leases, deliveries and limits keep working."""

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from domain.shared.subject import Subject
from tests.support.clocked import Clock
from tests.support.command import tickets
from tests.support.evidence import open_store
from tests.support.load import CLIENT, USERS, tracebacks, under_load
from tests.support.server import serving, until
from tests.support.stores import history_of

HOUR_SECONDS = 3600
QUICK: Any = {
    "TICKETS_DELIVERY_LEASE_SECONDS": "2",
    "TICKETS_CHECKPOINT_EVERY_SECONDS": "1",
    "TICKETS_CHECKPOINT_DIR": "var/checkpoints",
}


def test_the_service_keeps_working_when_the_clock_is_set_back(database_url: str, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    with (
        serving(tmp_path, database_url, **clock.environment, **QUICK) as server,
        under_load(server) as load,
    ):
        clock.set(-HOUR_SECONDS)
        set_back = time.monotonic()
        recovery = load.answers_again(set_back)
        load.wait_for_resets(20)
        signed = checkpoints(tmp_path)
        until(lambda: checkpoints(tmp_path) > signed, "the ledger is signed again")
        clock.set(0)
        load.wait_for_resets(20)
        load.stop()
        load.report("clock set back", [recovery])
        load.assert_that_it_was_bearable()
        load.assert_nothing_lost()
        assert {one.status for one in load.answers} == {httpx.codes.OK}
        assert not tracebacks(server)
        assert_that_the_order_is_not_by_time(database_url)
        check = tickets(tmp_path, "replay", "--check", TICKETS_DATABASE_URL=database_url)
        assert check.returncode == 0, check.stderr


def test_rate_limits_restart_and_tokens_from_the_future_are_rejected(sqlite_url: str, tmp_path: Path) -> None:
    """A caller at its limit is not blocked until the clock has caught up."""
    clock, limits = Clock(tmp_path), {"TICKETS_RATE_LIMIT_PER_CREDENTIAL": "3/minute"}
    reset = f"/{CLIENT}/users/{USERS[0]}/ticket/reset"
    with serving(tmp_path, sqlite_url, **clock.environment, **limits) as server:
        server.client.put(f"/{CLIENT}/users/{USERS[0]}", json={"email": "u@example.com"}).raise_for_status()
        server.client.post(reset.removesuffix("/reset")).raise_for_status()
        before = [server.client.post(reset).status_code for _ in range(4)]
        clock.set(-HOUR_SECONDS)
        until(lambda: server.client.post(reset).status_code == httpx.codes.OK, "it is let in again", 10)
        token = server.client.headers["Authorization"]
        # A running process keeps accepting it; for one that starts now it is not valid yet.
        known = server.client.get(reset.removesuffix("/reset"))
        with serving(tmp_path, sqlite_url, **clock.environment) as other:
            unknown = other.client.get(reset.removesuffix("/reset"), headers={"Authorization": token})
        assert not tracebacks(server)

    assert before == [200, 200, 200, 429]
    assert known.status_code == httpx.codes.OK
    assert unknown.status_code == httpx.codes.UNAUTHORIZED


def checkpoints(directory: Path) -> int:
    return len(list((directory / "var" / "checkpoints").glob("**/*.checkpoint")))


def assert_that_the_order_is_not_by_time(database_url: str) -> None:
    """An event has the time of the clock at its commit: a later event may have an earlier time.

    Order is by version and position, which are dense, and never by time.
    """
    store = open_store(database_url)
    try:
        times = [[event.timestamp for event in history_of(store, Subject(CLIENT, user))] for user in USERS]
    finally:
        store.close()
    assert any(later < earlier for of_user in times for earlier, later in pairwise(of_user))
