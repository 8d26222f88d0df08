"""A bulk job alone, and a single caller alone and beside an unpaced job."""

import time
from dataclasses import asdict
from statistics import median
from typing import Any

from tests.bench import load
from tests.bench.load import Figures
from tests.bench.results import Results, Size, progress
from tests.bench.seed import CLIENT, subject
from tests.bench.stage import OPERATIONS, USERS, Stage, staged

_JOBS = f"/{CLIENT}/bulk/resets"
_POLL_INTERVAL_SECONDS = 0.02


def bulk(store: str, size: Size, results: Results) -> None:
    """Measure the duration of a job without delivery, and the p99 of a caller on one connection, alternately."""
    seconds, latencies = [], []
    with staged(store, credentials=2 * USERS + size.bulk_users) as stage:
        _single(stage, size)
        for turn in range(size.rounds):
            progress.print(f"{store}: bulk job of {size.bulk_users} users, round {turn + 1}")
            began = time.monotonic()
            job = _started(stage, size)
            while _job(stage, job)["status"] == "running":
                time.sleep(_POLL_INTERVAL_SECONDS)
            seconds.append((time.monotonic() - began) * 10_000 / size.bulk_users)
            alone = _single(stage, size)
            job = _started(stage, size)
            beside = _single(stage, size)
            processed = size.bulk_users - _job(stage, job)["pending"]
            stage.server.client.post(f"{_JOBS}/{job}/cancel")
            for jobs, figures in ((0, alone), (1, beside)):
                results.figures.append(
                    {"part": "bulk", "store": store, "operation": "reset", "jobs": jobs}
                    | {**asdict(figures), "per_second": round(figures.per_second, 1)}
                    | ({"items": processed} if jobs else {})
                )
            latencies.append(beside.p99_ms / alone.p99_ms)
    results.target(f"{store}: seconds for 10,000 resets of a bulk job", median(seconds), 8, at_most=True)
    name = f"{store}, an unpaced bulk job beside one connection: reset, p99 beside / alone"
    results.target(name, median(latencies), 1.5, at_most=True)


def _started(stage: Stage, size: Size) -> str:
    """Start a job for users whom the caller does not reset."""
    users = [subject(2 * USERS + number).user_ext_id for number in range(size.bulk_users)]
    content = "userExtId\n" + "\n".join(users)
    response = stage.server.client.post(_JOBS, content=content, headers={"Content-Type": "text/csv"})
    job: str = response.raise_for_status().json()["job"]
    return job


def _job(stage: Stage, job: str) -> Any:
    return stage.server.client.get(f"{_JOBS}/{job}").raise_for_status().json()


def _single(stage: Stage, size: Size) -> Figures:
    token = stage.server.client.headers["Authorization"].removeprefix("Bearer ")
    url = f"http://127.0.0.1:{stage.server.port}"
    figures = load.send(url, token, OPERATIONS["reset"], stage.directory, connections=1, seconds=size.seconds)
    if figures.errors:
        raise RuntimeError(f"{stage.store}: {figures.errors} resets beside a bulk job failed")
    return figures
