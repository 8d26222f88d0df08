"""Several server processes on one store."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from application.command import Subject
from tests.support.evidence import assert_whole
from tests.support.server import Server, serving, until

USER = "/client-123/users/user-0"
SUBJECT = Subject("client-123", "user-0")


@pytest.fixture
def servers(database_url: str, tmp_path: Path) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(tmp_path, database_url)) for _ in range(3)]
        servers[0].client.put(USER, json={"email": "user-0@example.com"}).raise_for_status()
        yield servers


def at_once(servers: list[Server], path: str, count: int, **headers: str) -> list[httpx.Response]:
    with ThreadPoolExecutor(count) as pool:
        return list(
            pool.map(lambda n: servers[n % len(servers)].client.post(path, headers=headers), range(count))
        )


def test_of_many_creates_at_once_one_wins(servers: list[Server]) -> None:
    answers = at_once(servers, f"{USER}/ticket", 16)

    assert Counter(answer.status_code for answer in answers) == {201: 1, 422: 15}
    assert {a.json()["errors"][0]["code"] for a in answers if a.status_code == 422} == {"errors.ticketExists"}


def test_all_resets_at_once_happen_one_after_the_other(
    servers: list[Server], database_url: str, tmp_path: Path
) -> None:
    servers[0].client.post(f"{USER}/ticket").raise_for_status()

    answers = at_once(servers, f"{USER}/ticket/reset", 60)

    assert sorted(answer.json()["resetCount"] for answer in answers) == list(range(1, 61))
    until(lambda: len(list((tmp_path / "var" / "mail").glob("*.eml"))) == 61, "everything is delivered")
    assert assert_whole(database_url, tmp_path / "var" / "mail", [SUBJECT])[SUBJECT].reset_count == 60


def test_of_resets_at_once_with_the_same_if_match_one_happens(servers: list[Server]) -> None:
    servers[0].client.post(f"{USER}/ticket").raise_for_status()

    answers = at_once(servers, f"{USER}/ticket/reset", 16, **{"If-Match": '"1"'})

    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 15}


def test_the_same_key_at_once_is_one_reset_with_one_answer(servers: list[Server]) -> None:
    servers[0].client.post(f"{USER}/ticket").raise_for_status()

    answers = at_once(servers, f"{USER}/ticket/reset", 16, **{"Idempotency-Key": "key"})

    assert len({answer.content for answer in answers}) == 1
    assert servers[1].client.get(f"{USER}/ticket").json()["version"] == 2
