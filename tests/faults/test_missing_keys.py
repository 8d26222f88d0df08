"""Key files vanish at run time or before the start: the effects, and the recovery."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from domain.shared.subject import Subject
from tests.support.command import command
from tests.support.evidence import assert_complete, outbox_of
from tests.support.load import tracebacks, under_load
from tests.support.server import NO_DELIVERY, serving, until

QUICK: Any = {
    "TICKETS_DELIVERY_RETRY_SECONDS": "0.2",
    "TICKETS_DELIVERY_LONGEST_WAIT_SECONDS": "0.5",
    "TICKETS_DELIVERY_LEASE_SECONDS": "2",
    "TICKETS_CHECKPOINT_EVERY_SECONDS": "1",
}
USER = "/client-123/users/user-0"


@contextmanager
def without(keys: Path) -> Iterator[None]:
    """Move the keys away until the end."""
    away = keys.with_name("away")
    keys.rename(away)
    try:
        yield
    finally:
        if keys.exists():
            shutil.rmtree(keys)
        away.rename(keys)


def test_keys_that_vanish_at_run_time_cost_no_reset_and_no_delivery(
    database_url: str, tmp_path: Path
) -> None:
    with serving(tmp_path, database_url, **QUICK) as server, under_load(server) as load:
        with without(tmp_path / "var" / "keys"):
            removed = time.monotonic()
            load.answers_again(removed)
            load.refused(removed, "/readyz")
            evidence = server.client.get(f"{USER}/ticket/evidence")
            load.wait_for_resets(50)
        back = time.monotonic()
        recovery = load.answers_again(back)
        load.ready_again(back)
        until(
            lambda: server.client.get(f"{USER}/ticket/evidence").status_code == httpx.codes.OK,
            "evidence is signed again",
        )
        load.stop()
        load.report("keys removed while running", [recovery])
        load.assert_that_it_was_bearable()
        load.assert_nothing_lost()
        resets = {one.status for one in load.answers if one.path.endswith("/reset")}
        assert not tracebacks(server)

    assert resets == {httpx.codes.OK}
    assert evidence.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert evidence.headers["Retry-After"]


def given_a_lost_key(directory: Path, database_url: str) -> tuple[Path, Path]:
    """Queue a ticket and move its key away; returns the key's original and new paths."""
    key, away = directory / "var" / "keys" / "outbox.key", directory / "outbox.key"
    with serving(directory, database_url, **NO_DELIVERY) as server:
        server.client.put(USER, json={"email": "u@example.com"}).raise_for_status()
        server.client.post(f"{USER}/ticket").raise_for_status()
    key.rename(away)
    return key, away


def test_a_start_without_the_outbox_key_fails_and_all_is_delivered_after_its_restore(
    database_url: str, tmp_path: Path
) -> None:
    key, away = given_a_lost_key(tmp_path, database_url)

    for argument in ("serve", "deliver", "push"):
        with command(tmp_path, argument, TICKETS_DATABASE_URL=database_url) as refused:
            assert refused.wait() == 2
        reported = refused.err.read_text()
        assert reported.startswith(
            "tickets: var/keys/outbox.key is missing, though the store is in use: restore the key"
        )
        assert reported.count("\n") == 1
        assert not key.exists()

    away.rename(key)
    with serving(tmp_path, database_url, **QUICK) as server:
        until(lambda: not outbox_of(database_url), "all is delivered")
        assert not tracebacks(server)
    assert_complete(database_url, tmp_path / "var" / "mail", [Subject("client-123", "user-0")])


def test_without_a_backup_of_the_outbox_key_a_new_one_is_created_on_demand_and_the_loss_is_reported(
    sqlite_url: str, tmp_path: Path
) -> None:
    """If the lost key is found, it decrypts the queued tickets after the new one."""
    key, away = given_a_lost_key(tmp_path, sqlite_url)
    with command(tmp_path, "keys", "rotate", "--outbox", TICKETS_DATABASE_URL=sqlite_url) as rotating:
        assert rotating.wait() == 2
    assert (
        "1 ticket and 0 subscriptions were encrypted with a key that is missing" in rotating.err.read_text()
    )

    with serving(tmp_path, sqlite_url, **QUICK) as server:
        until(lambda: "delivery by" in server.log.read_text(), "its delivery is tried")
        pending = outbox_of(sqlite_url)
        reset = server.client.post(f"{USER}/ticket/reset")
        until(lambda: len(outbox_of(sqlite_url)) <= len(pending), "tickets under the new key are delivered")

        key.write_bytes(key.read_bytes() + away.read_bytes())
        until(lambda: not outbox_of(sqlite_url), "all is delivered")
        assert not tracebacks(server)

    assert len(pending) == 1
    assert reset.status_code == httpx.codes.OK
    assert_complete(sqlite_url, tmp_path / "var" / "mail", [Subject("client-123", "user-0")])


def test_a_missing_token_key_causes_401_until_it_is_restored(sqlite_url: str, tmp_path: Path) -> None:
    key, away = tmp_path / "var" / "keys" / "token.pem", tmp_path / "token.pem"
    with serving(tmp_path, sqlite_url) as server:
        token = server.client.headers["Authorization"]
        server.client.put(USER, json={"email": "u@example.com"}).raise_for_status()
    key.rename(away)
    with serving(tmp_path, sqlite_url) as server:
        old = server.client.get(USER, headers={"Authorization": token})
        new = server.client.get(USER)
        assert not tracebacks(server)
    away.rename(key)
    with serving(tmp_path, sqlite_url) as server:
        again = server.client.get(USER, headers={"Authorization": token})

    assert (old.status_code, new.status_code) == (httpx.codes.UNAUTHORIZED, httpx.codes.OK)
    assert again.status_code == httpx.codes.OK


def test_users_may_be_imported_before_the_first_start(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("userExtId,email\nuser-0,u@example.com\n")
    with command(
        tmp_path, "users", "import", "users.csv", "--client", "client-123", TICKETS_DATABASE_URL=sqlite_url
    ) as importing:
        assert importing.wait() == 0, importing.err.read_text()

    with serving(tmp_path, sqlite_url) as server:
        server.client.post(f"{USER}/ticket").raise_for_status()
