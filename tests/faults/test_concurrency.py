"""Several server processes on one store."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from domain.shared.subject import Subject
from tests.support.evidence import assert_complete, outbox_of
from tests.support.server import Server, serving, until

PROCESSES = 3
PAIRS = 10


@pytest.fixture
def servers(database_url: str, tmp_path: Path) -> Iterator[list[Server]]:
    """Servers that were started concurrently, on an empty store."""
    with ExitStack() as stack, ThreadPoolExecutor(PROCESSES) as pool:
        yield list(pool.map(lambda _: stack.enter_context(serving(tmp_path, database_url)), range(PROCESSES)))


def given_user(servers: list[Server], user: str) -> str:
    path = f"/client-123/users/{user}"
    servers[0].client.put(path, json={"email": f"{user}@example.com"}).raise_for_status()
    return f"{path}/ticket"


def given_ticket(servers: list[Server], user: str) -> str:
    path = given_user(servers, user)
    servers[0].client.post(path).raise_for_status()
    return path


def concurrently(servers: list[Server], path: str, count: int, **headers: str) -> list[httpx.Response]:
    start = threading.Barrier(count)

    def post(number: int) -> httpx.Response:
        start.wait(30)
        return servers[number % len(servers)].client.post(path, headers=headers)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(post, range(count)))


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def test_one_of_concurrent_creates_wins(servers: list[Server]) -> None:
    for user, count in [("many", 16), *((f"pair-{number}", 2) for number in range(PAIRS))]:
        path = given_user(servers, user)

        answers = concurrently(servers, path, count)

        assert statuses(answers) == {201: 1, 422: count - 1}
        refused = [answer.json()["errors"][0]["code"] for answer in answers if answer.status_code == 422]
        assert refused == ["errors.ticketExists"] * (count - 1)
        assert servers[-1].client.get(path).json()["version"] == 1


def test_concurrent_resets_are_serialised(servers: list[Server], database_url: str, tmp_path: Path) -> None:
    counts = {"many": 60} | {f"pair-{number}": 2 for number in range(PAIRS)}
    mails = tmp_path / "var" / "mail"
    for user, count in counts.items():
        answers = concurrently(servers, f"{given_ticket(servers, user)}/reset", count)

        assert statuses(answers) == {200: count}
        assert sorted(answer.json()["resetCount"] for answer in answers) == list(range(1, count + 1))

    until(lambda: not outbox_of(database_url), "everything is delivered")
    rows = assert_complete(database_url, mails, [Subject("client-123", user) for user in counts])
    assert {subject.user_ext_id: row.reset_count for subject, row in rows.items()} == counts


def test_one_of_concurrent_resets_with_the_same_if_match_succeeds(servers: list[Server]) -> None:
    for user, count in [("many", 16), *((f"pair-{number}", 2) for number in range(PAIRS))]:
        path = given_ticket(servers, user)

        answers = concurrently(servers, f"{path}/reset", count, **{"If-Match": '"1"'})

        assert statuses(answers) == {200: 1, 412: count - 1}
        assert servers[-1].client.get(path).json()["resetCount"] == 1


def test_concurrent_requests_with_the_same_key_are_one_reset_with_one_response(servers: list[Server]) -> None:
    path = given_ticket(servers, "user-0")

    answers = concurrently(servers, f"{path}/reset", 16, **{"Idempotency-Key": "key"})

    assert statuses(answers) == {200: 16}
    assert len({answer.content for answer in answers}) == 1
    assert servers[-1].client.get(path).json()["version"] == 2
