"""Clients on one server: none takes a shared resource from the others."""

import asyncio
import os
import threading
from collections import Counter
from pathlib import Path

import httpx
import pytest

from interface.outbound.system import prefer_other_threads
from tests.bench import load
from tests.bench.neighbours import neighbours
from tests.bench.results import TINY, Results
from tests.support.server import Server, serving

SLOW = {"parameters": {"hashAlgorithm": "ARGON2ID"}, "defaultPolicy": True}


def given_tickets(server: Server, client: str, number: int) -> None:
    """Create users with tickets under a policy whose hash is slow."""
    assert server.client.put(f"/{client}/policies/slow", json=SLOW).status_code == 201
    for user in range(number):
        path = f"/{client}/users/user-{user}"
        assert server.client.put(path, json={"email": "user@example.com"}).status_code == 201
        assert server.client.post(f"{path}/ticket", json={}).status_code == 201


async def verified(server: Server, clients: list[str]) -> list[httpx.Response]:
    """Verify wrong tickets, each on its own connection, concurrently."""
    async with server.concurrent_client() as http:
        posts = [
            http.post(f"/{client}/users/user-{number % 2}/ticket/verify", json={"ticket": "wrong"})
            for number, client in enumerate(clients)
        ]
        return await asyncio.gather(*posts)


def test_a_client_with_many_verifications_leaves_slow_hashes_to_another(
    tmp_path: Path, sqlite_url: str
) -> None:
    with serving(tmp_path, sqlite_url, TICKETS_DELIVER="False") as server:
        for client in ("client-a", "client-b"):
            given_tickets(server, client, 2)
        answers = asyncio.run(verified(server, ["client-a"] * 90 + ["client-b"] * 12))
        metrics = server.client.get(f"http://127.0.0.1:{server.port}/metrics").text

    of_a, of_b = answers[:90], answers[90:]
    assert Counter(answer.status_code for answer in of_b) == {200: 12}
    refused = [answer for answer in of_a if answer.status_code != 200]
    for answer in refused:
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
        assert answer.json()["errors"][0]["code"] == "errors.tooManyRequests"
        assert "slow hash" in answer.json()["detail"]
    assert f"tickets_slow_hash_refused_total {len(refused):.1f}" in metrics
    assert "tickets_slow_hash_wait_seconds_count" in metrics


def test_only_the_calling_thread_gets_a_lower_priority() -> None:
    found = list[int]()

    def nice() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def measure() -> None:
        found.append(nice())
        prefer_other_threads()
        found.append(nice())

    thread = threading.Thread(target=measure)
    before = nice()
    thread.start()
    thread.join()

    assert found == [before, max(before, 10)]
    assert nice() == before


def test_the_bench_measures_resets_beside_slow_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(load, "WITH_WRK", False)
    results = Results()

    neighbours("SQLite", TINY, results)

    assert [figures["slow"] for figures in results.figures] == [0, 32]
    assert all(figures["answered"] and not figures["errors"] for figures in results.figures)
    assert len(results.targets) == 3
