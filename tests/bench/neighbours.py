"""Resets with a fast hash beside resets with a slow one (Argon2id): their throughput and latency, and the rate of slow hashes."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from statistics import median

from tests.bench import load
from tests.bench.load import Figures
from tests.bench.results import Results, Size, progress
from tests.bench.stage import OPERATIONS, Stage, staged

_SLOW = {"parameters": {"hashAlgorithm": "ARGON2ID"}, "defaultPolicy": True}
_CLIENT = "slow"
_SLOW_CALLERS = 32
_CONNECTIONS = 16


def neighbours(store: str, size: Size, results: Results) -> None:
    """Measure fast resets alone and beside 32 callers of slow ones, alternately."""
    with staged(store) as stage:
        _given_slow_tickets(stage)
        _fast(stage, size)
        speeds, latencies, hashes = [], [], []
        for turn in range(size.rounds):
            progress.print(f"{store}: reset beside {_SLOW_CALLERS} slow hashes, round {turn + 1}")
            alone = _fast(stage, size)
            with _slow_resets(stage) as answered:
                began = len(answered)
                beside = _fast(stage, size)
                hashes.append((len(answered) - began) / beside.seconds)
            for callers, figures in ((0, alone), (_SLOW_CALLERS, beside)):
                results.figures.append(
                    {"part": "neighbours", "store": store, "operation": "reset", "slow": callers}
                    | {**asdict(figures), "per_second": round(figures.per_second, 1)}
                )
            speeds.append(alone.per_second / beside.per_second)
            latencies.append(beside.p99_ms / alone.p99_ms)
    name = f"{store}, {_SLOW_CALLERS} slow hashes beside {_CONNECTIONS} connections: reset"
    results.target(f"{name}, throughput alone / beside", median(speeds), 1.3, at_most=True)
    results.target(f"{name}, p99 beside / alone", median(latencies), 1.3, at_most=True)
    results.target(f"{store}: slow hashes per second under load", median(hashes), 1, at_most=False)


def _given_slow_tickets(stage: Stage) -> None:
    client = stage.server.client
    client.put(f"/{_CLIENT}/policies/slow", json=_SLOW).raise_for_status()
    for number in range(_SLOW_CALLERS):
        path = f"/{_CLIENT}/users/user-{number}"
        client.put(path, json={"email": "user@example.com"}).raise_for_status()
        client.post(f"{path}/ticket", json={}).raise_for_status()


def _fast(stage: Stage, size: Size) -> Figures:
    token = stage.server.client.headers["Authorization"].removeprefix("Bearer ")
    url = f"http://127.0.0.1:{stage.server.port}"
    figures = load.send(
        url, token, OPERATIONS["reset"], stage.directory, connections=_CONNECTIONS, seconds=size.seconds
    )
    if figures.errors:
        raise RuntimeError(f"{stage.store}: {figures.errors} resets beside slow hashes failed")
    return figures


@contextmanager
def _slow_resets(stage: Stage) -> Iterator[list[int]]:
    """Reset slow tickets on 32 connections until the end; yields the statuses of the responses so far."""
    over, begun, answered = threading.Event(), threading.Event(), list[int]()

    async def reset(number: int) -> None:
        async with stage.server.concurrent_client() as http:
            while not over.is_set():
                answer = await http.post(f"/{_CLIENT}/users/user-{number}/ticket/reset")
                answered.append(answer.raise_for_status().status_code)
                begun.set()

    async def all_of_them() -> None:
        await asyncio.gather(*map(reset, range(_SLOW_CALLERS)))

    thread = threading.Thread(target=lambda: asyncio.run(all_of_them()))
    thread.start()
    try:
        assert begun.wait(60)
        yield answered
    finally:
        over.set()
        thread.join()
