"""kill -9: no answered reset is lost, nothing is half-done, nothing happens twice."""

import os
import random
import signal
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from domain.shared.subject import Subject
from tests.support import crashing_server
from tests.support.crashing_server import AFTER_COMMIT, BEFORE_COMMIT, NO_DELIVERY
from tests.support.evidence import assert_complete, open_store, outbox_of
from tests.support.files import files_in
from tests.support.lanes import forms
from tests.support.server import PATIENCE_SECONDS, Server, serving, until
from tests.support.stores import history_of

ROUNDS = int(os.environ.get("TICKETS_TEST_CRASHES", "8"))
USERS = [f"user-{number}" for number in range(4)]
CALLERS = 8
# Deliveries of a killed process are retried soon.
QUICK = {"TICKETS_DELIVERY_LEASE_SECONDS": "2", "TICKETS_DELIVERY_RETRY_SECONDS": "0.1"}
SUBJECT = Subject("client-123", "user-0")
TICKET = "/client-123/users/user-0/ticket"
RESET = f"{TICKET}/reset"
KEY = {"Idempotency-Key": "the-key"}


def given_tickets(server: Server, users: list[str]) -> None:
    for user in users:
        server.client.put(
            f"/client-123/users/{user}", json={"email": f"{user}@example.com"}
        ).raise_for_status()
        server.client.post(f"/client-123/users/{user}/ticket").raise_for_status()


def mails(directory: Path) -> Path:
    return directory / "var" / "mail"


def assert_all_delivered(database_url: str, directory: Path, users: Sequence[str] = ("user-0",)) -> None:
    """Every user's newest ticket has its one mail, and neither a sealed row nor a draft is left."""
    until(lambda: not outbox_of(database_url), "everything is delivered")
    subjects = [Subject("client-123", user) for user in users]
    rows = assert_complete(database_url, mails(directory), subjects)
    found = {path.name for path in files_in(mails(directory))}
    assert {f"{row.stream}-{row.version}.eml" for row in rows.values()} <= found
    assert {Path(name).suffix for name in found} == {".eml"}


def parts_that_a_retry_repeats(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    headers = sorted((name, value) for name, value in answer.headers.items() if name != "date")
    return answer.status_code, answer.content, headers


@contextmanager
def crashing(directory: Path, database_url: str, **environment: str) -> Iterator[Server]:
    with serving(directory, database_url, module=crashing_server.__name__, **QUICK, **environment) as server:
        yield server


def post_and_crash(server: Server, body: dict[str, str]) -> None:
    with pytest.raises(httpx.TransportError):
        server.client.post(RESET, headers=KEY, json=body)
    assert server.process.wait(PATIENCE_SECONDS) == -signal.SIGKILL


def test_a_retry_after_a_crash_between_commit_and_response_gets_the_first_response(
    database_url: str, tmp_path: Path
) -> None:
    body = {"modificationComment": AFTER_COMMIT}
    with serving(tmp_path, database_url, **QUICK) as other:
        given_tickets(other, ["user-0"])
        with crashing(tmp_path, database_url) as server:
            post_and_crash(server, body)
        stored = other.client.get(TICKET)
        to_another_process = other.client.post(RESET, headers=KEY, json=body)
        with serving(tmp_path, database_url, **QUICK) as restarted:
            after_the_restart = restarted.client.post(RESET, headers=KEY, json=body)
        assert_all_delivered(database_url, tmp_path)

    assert stored.json()["version"] == 2
    assert to_another_process.status_code == 200
    assert to_another_process.content == stored.content
    assert parts_that_a_retry_repeats(after_the_restart) == parts_that_a_retry_repeats(to_another_process)
    assert assert_complete(database_url, mails(tmp_path), [SUBJECT])[SUBJECT].version == 2


def test_a_retry_after_kill_9_gets_the_first_response(database_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, database_url, **QUICK) as other:
        given_tickets(other, ["user-0"])
        with serving(tmp_path, database_url, **QUICK) as killed:
            given = killed.client.post(RESET, headers=KEY)
        # Changes in between must not affect the response.
        other.client.post(RESET).raise_for_status()
        to_another_process = other.client.post(RESET, headers=KEY)
        with serving(tmp_path, database_url, **QUICK) as restarted:
            after_the_restart = restarted.client.post(RESET, headers=KEY)
        assert_all_delivered(database_url, tmp_path)

    assert given.json()["resetCount"] == 1
    assert parts_that_a_retry_repeats(to_another_process) == parts_that_a_retry_repeats(given)
    assert parts_that_a_retry_repeats(after_the_restart) == parts_that_a_retry_repeats(given)
    assert assert_complete(database_url, mails(tmp_path), [SUBJECT])[SUBJECT].version == 3


def test_a_retry_after_a_crash_before_the_commit_happens_once(database_url: str, tmp_path: Path) -> None:
    body = {"modificationComment": BEFORE_COMMIT}
    with serving(tmp_path, database_url, **QUICK) as other:
        given_tickets(other, ["user-0"])
        assert_all_delivered(database_url, tmp_path)
        before = other.client.get(TICKET).content
        with crashing(tmp_path, database_url) as server:
            post_and_crash(server, body)

        assert other.client.get(TICKET).content == before
        assert_all_delivered(database_url, tmp_path)

        answers = [other.client.post(RESET, headers=KEY, json=body) for _ in range(2)]
        assert_all_delivered(database_url, tmp_path)

    assert [answer.json()["version"] for answer in answers] == [2, 2]
    assert assert_complete(database_url, mails(tmp_path), [SUBJECT])[SUBJECT].reset_count == 1


def test_a_crash_between_commit_and_spool_loses_no_ticket(database_url: str, tmp_path: Path) -> None:
    with crashing(tmp_path, database_url, **{NO_DELIVERY: "1"}) as server:
        given_tickets(server, ["user-0"])
        server.client.post(RESET).raise_for_status()
    assert len(outbox_of(database_url)) == 2
    assert files_in(mails(tmp_path)) == []

    with serving(tmp_path, database_url, **QUICK):
        assert_all_delivered(database_url, tmp_path)


@dataclass
class Caller:
    """Resets a ticket repeatedly; a request without a response is repeated with its key."""

    user: str
    answered: list[tuple[int, int]] = field(default_factory=list)
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def reset(self, client: httpx.Client) -> None:
        path = f"/client-123/users/{self.user}/ticket/reset"
        answer = client.post(path, headers={"Idempotency-Key": self.key}).raise_for_status().json()
        self.answered.append((answer["version"], answer["resetCount"]))
        self.key = uuid.uuid4().hex

    def reset_until_disconnected(self, server: Server) -> None:
        with httpx.Client(
            base_url=server.client.base_url,
            headers=server.client.headers,
            timeout=PATIENCE_SECONDS,
            trust_env=False,
        ) as client:
            while True:
                try:
                    self.reset(client)
                except httpx.TransportError:
                    return


@contextmanager
def under_load(directory: Path, database_url: str, callers: list[Caller], answers: int) -> Iterator[Server]:
    """Yield a server in the middle of its responses, after this many."""
    wanted = answers + sum(len(caller.answered) for caller in callers)
    # The server stops first, so that the callers always end.
    with ThreadPoolExecutor(len(callers)) as pool, serving(directory, database_url, **QUICK) as server:
        ends = [pool.submit(caller.reset_until_disconnected, server) for caller in callers]
        until(lambda: sum(len(caller.answered) for caller in callers) >= wanted, "resets are answered")
        yield server
        server.kill()
        for end in ends:
            end.result(PATIENCE_SECONDS)


def assert_every_answer_is_stored(
    database_url: str, directory: Path, callers: list[Caller]
) -> dict[Subject, set[int]]:
    """Return the unanswered resets of each user."""
    subjects = [Subject("client-123", user) for user in USERS]
    rows = assert_complete(database_url, mails(directory), subjects)
    unanswered = {}
    for subject in subjects:
        answered = [answer for c in callers if c.user == subject.user_ext_id for answer in c.answered]
        resets = [reset for _, reset in answered]
        assert all(version == reset + 1 for version, reset in answered)
        assert len(set(resets)) == len(resets)
        assert set(resets) <= set(range(1, rows[subject].reset_count + 1))
        unanswered[subject] = set(range(1, rows[subject].reset_count + 1)) - set(resets)
    return unanswered


def given_callers(directory: Path, database_url: str) -> list[Caller]:
    with serving(directory, database_url, **QUICK) as server:
        given_tickets(server, USERS)
    return [Caller(USERS[number % len(USERS)]) for number in range(CALLERS)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rounds", forms(short=1, full=ROUNDS))
def test_kill_9_at_any_moment_under_load_loses_no_answered_reset(
    database_url: str, tmp_path: Path, chance: random.Random, rounds: int
) -> None:
    callers = given_callers(tmp_path, database_url)
    for _ in range(rounds):
        with under_load(tmp_path, database_url, callers, chance.randrange(1, 200)) as server:
            server.kill()
        unanswered = assert_every_answer_is_stored(database_url, tmp_path, callers)
        assert sum(map(len, unanswered.values())) <= CALLERS

    with serving(tmp_path, database_url, **QUICK) as server:
        for caller in callers:
            caller.reset(server.client)
        assert_all_delivered(database_url, tmp_path, USERS)

    # Each request was executed once, however often it was sent, and none is left without a response.
    unanswered = assert_every_answer_is_stored(database_url, tmp_path, callers)
    assert not any(unanswered.values())
    assert len(command_ids(database_url)) == sum(len(caller.answered) for caller in callers)


def command_ids(database_url: str) -> set[str]:
    """Return the ids of the commands that reset a ticket."""
    store = open_store(database_url)
    try:
        histories = [history_of(store, Subject("client-123", user)) for user in USERS]
    finally:
        store.close()
    return {event.command_id for history in histories for event in history[1:]}


def test_a_stop_under_load_loses_nothing_and_stored_tickets_are_delivered(
    database_url: str, tmp_path: Path
) -> None:
    callers = given_callers(tmp_path, database_url)
    with under_load(tmp_path, database_url, callers, 100) as server:
        assert server.stop() in (0, -signal.SIGTERM)

    unanswered = assert_every_answer_is_stored(database_url, tmp_path, callers)
    assert not any(unanswered.values())
    with serving(tmp_path, database_url, **QUICK):
        assert_all_delivered(database_url, tmp_path, USERS)
