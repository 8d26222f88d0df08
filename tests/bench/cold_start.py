"""From the start of a server to its first answer, and the time of `tickets --help`."""

import subprocess
import sys
import time
from statistics import median

import psutil

from tests.bench.results import Results, Size, progress
from tests.bench.stage import Stage, staged
from tests.support.server import ROOT, serving

_MOST_SECONDS = 1.5
_MOST_SECONDS_WHEN_LARGE = 2


def cold_start(store: str, size: Size, results: Results) -> None:
    """Measure starts on a small and on a large store, alternately. A figure is the median of its rounds."""
    few, many = size.credentials
    with staged(store, credentials=few) as small, staged(store, credentials=many) as large:
        seconds: dict[int, list[float]] = {few: [], many: []}
        for turn in range(size.rounds):
            for credentials, stage in ((few, small), (many, large)):
                progress.print(f"{store}: a start with {credentials:,} credentials, round {turn + 1}")
                took, cpu = _start(stage)
                seconds[credentials].append(took)
                results.figures.append(
                    {"part": "cold start", "store": store, "operation": "start", "connections": 0}
                    | {"credentials": credentials, "seconds": round(took, 3), "cpu_seconds": round(cpu, 3)}
                )
    for credentials, bound in ((few, _MOST_SECONDS), (many, _MOST_SECONDS_WHEN_LARGE)):
        name = f"{store}: from a start to the first answer, {credentials:,} credentials, s"
        results.target(name, median(seconds[credentials]), bound, at_most=True)
    results.target("tickets --help, s", median(_help() for _ in range(size.rounds)), 1, at_most=True)


def _start(stage: Stage) -> tuple[float, float]:
    """Start one more server on the store. Returns the seconds until its first answer, and those of a processor."""
    began = time.perf_counter()
    # With this option the process is not forked from one that has imported the service.
    with serving(stage.directory, stage.url, "--workers", "1", TICKETS_DELIVER="false") as server:
        took = time.perf_counter() - began
        times = psutil.Process(server.process.pid).cpu_times()
        return took, times.user + times.system


def _help() -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "interface.main", "--help"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began
