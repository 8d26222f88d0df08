"""kill -9, really: no answered reset is lost, nothing is half-done, nothing happens twice."""

import os
import random
import threading
from pathlib import Path

import httpx
import pytest

from application.command import Subject
from tests.support.crashing_server import AFTER_COMMIT, BEFORE_COMMIT, NO_DELIVERY
from tests.support.evidence import assert_whole, outbox_of
from tests.support.server import Server, serving, until

ROUNDS = int(os.environ.get("TICKETS_TEST_CRASHES", "20"))
USERS = [f"user-{number}" for number in range(4)]
SUBJECT = Subject("client-123", "user-0")
RESET = "/client-123/users/user-0/ticket/reset"


def given_tickets(server: Server, users: list[str]) -> None:
    for user in users:
        server.client.put(
            f"/client-123/users/{user}", json={"email": f"{user}@example.com"}
        ).raise_for_status()
        server.client.post(f"/client-123/users/{user}/ticket").raise_for_status()


def mails(directory: Path) -> Path:
    return directory / "var" / "mail"


def test_a_retry_after_a_crash_between_commit_and_answer_gets_the_first_answer(
    database_url: str, tmp_path: Path
) -> None:
    key = {"Idempotency-Key": "the-key"}
    body = {"modificationComment": AFTER_COMMIT}
    with serving(tmp_path, database_url) as other:
        with serving(tmp_path, database_url) as crashing:
            given_tickets(other, ["user-0"])
            with pytest.raises(httpx.TransportError):
                crashing.client.post(RESET, headers=key, json=body)
        to_another_process = other.client.post(RESET, headers=key, json=body)
        with serving(tmp_path, database_url) as restarted:
            after_the_restart = restarted.client.post(RESET, headers=key, json=body)
        until(lambda: not outbox_of(database_url), "everything is delivered")

    assert to_another_process.json()["resetCount"] == 1
    assert after_the_restart.content == to_another_process.content
    assert _without_date(after_the_restart) == _without_date(to_another_process)
    assert assert_whole(database_url, mails(tmp_path), [SUBJECT])[SUBJECT].version == 2
    assert len(list(mails(tmp_path).glob("*.eml"))) == 2


def test_a_retry_after_a_crash_before_the_commit_happens_once(database_url: str, tmp_path: Path) -> None:
    key = {"Idempotency-Key": "the-key"}
    with serving(tmp_path, database_url) as other:
        with serving(tmp_path, database_url) as crashing:
            given_tickets(other, ["user-0"])
            with pytest.raises(httpx.TransportError):
                crashing.client.post(RESET, headers=key, json={"modificationComment": BEFORE_COMMIT})
        assert other.client.get("/client-123/users/user-0/ticket").json()["version"] == 1
        assert other.client.post(RESET, headers=key, json={}).json()["version"] == 2


def test_a_crash_between_commit_and_spool_loses_no_ticket(database_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, database_url, **{NO_DELIVERY: "1"}) as server:
        given_tickets(server, ["user-0"])
        server.client.post(RESET).raise_for_status()
    assert len(outbox_of(database_url)) == 2
    assert list(mails(tmp_path).glob("*.eml")) == []

    with serving(tmp_path, database_url):
        until(lambda: not outbox_of(database_url), "everything is delivered")

    assert_whole(database_url, mails(tmp_path), [SUBJECT])
    assert len(list(mails(tmp_path).glob("*.eml"))) == 2


@pytest.mark.timeout(600)
def test_kill_9_at_any_moment_under_load_loses_no_answered_reset(database_url: str, tmp_path: Path) -> None:
    chance = random.Random(20261123)
    answered: list[tuple[str, int, int]] = []
    with serving(tmp_path, database_url) as server:
        given_tickets(server, USERS)
    for _ in range(ROUNDS):
        with serving(tmp_path, database_url) as server:
            threads = [
                threading.Thread(target=_reset_on_and_on, args=[server, user, answered]) for user in USERS * 2
            ]
            for thread in threads:
                thread.start()
            wanted = len(answered) + chance.randrange(1, 200)
            until(lambda wanted=wanted: len(answered) >= wanted, "resets are answered")  # type: ignore[misc]
            server.kill()
            for thread in threads:
                thread.join()

    subjects = [Subject("client-123", user) for user in USERS]
    rows = assert_whole(database_url, mails(tmp_path), subjects)
    with serving(tmp_path, database_url):
        until(lambda: not outbox_of(database_url), "everything is delivered")
    assert assert_whole(database_url, mails(tmp_path), subjects) == rows

    assert len(set(answered)) == len(answered) >= ROUNDS
    assert all(
        version == resets + 1 <= rows[Subject("client-123", user)].version
        for user, version, resets in answered
    )
    assert len(list(mails(tmp_path).glob("*.eml"))) == sum(row.version for row in rows.values())


def _reset_on_and_on(server: Server, user: str, answered: list[tuple[str, int, int]]) -> None:
    with httpx.Client(
        base_url=server.client.base_url, headers=server.client.headers, trust_env=False
    ) as client:
        while True:
            try:
                answer = client.post(f"/client-123/users/{user}/ticket/reset")
            except httpx.TransportError:
                return
            body = answer.raise_for_status().json()
            answered.append((user, body["version"], body["resetCount"]))


def _without_date(answer: httpx.Response) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in answer.headers.items() if name != "date")
