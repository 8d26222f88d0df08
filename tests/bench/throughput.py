"""Loads side by side: the operations and the bare app, a constant rate, slow flushes, and several server processes."""

from contextlib import ExitStack

from tests.bench.results import Results, Size, progress
from tests.bench.stage import Stage, staged

# The share of the maximum rate at which an open load measures the times.
_SHARE = 0.7
_OPEN_ROUNDS_LONGER = 3


def side_by_side(store: str, size: Size, results: Results) -> None:
    """Measure every operation at every number of connections, alternately."""
    with staged(store, with_textbook=True, with_bare=True) as stage:
        for operation in size.operations:
            stage.measure(operation, max(size.connections), size.seconds / 2)
        for connections in size.connections:
            for turn in range(size.rounds):
                for operation in size.operations:
                    progress.print(f"{store}: {operation}, {connections} connections, round {turn + 1}")
                    figures = stage.measure(operation, connections, size.seconds)
                    results.figures.append({"part": "side by side", **figures})
    _targets_to_bare(store, size, results)
    _targets_to_textbook(store, size, results)


def _targets_to_bare(store: str, size: Size, results: Results) -> None:
    is_sqlite = store == "SQLite"
    most, fewest = max(size.connections), min(size.connections)
    many, lone = f"{store}, {most} connections:", f"{store}, {fewest} connection{'s' * (fewest > 1)}:"
    ratios = results.ratios
    results.target(
        f"{many} no-op / bare, throughput",
        ratios("per_second", store, "no-op", "bare", most),
        0.35,
        at_most=False,
    )
    results.target(
        f"{many} get / bare, CPU",
        ratios("cpu_us", store, "get", "bare", most),
        3.5 if is_sqlite else 6,
        at_most=True,
    )
    for operation in ("reset", "verify"):
        results.target(
            f"{many} {operation} / bare, CPU",
            ratios("cpu_us", store, operation, "bare", most),
            8 if is_sqlite else 12,
            at_most=True,
        )
        results.target(
            f"{many} {operation} / bare, throughput",
            ratios("per_second", store, operation, "bare", most),
            0.1 if is_sqlite else 0.07,
            at_most=False,
        )
    results.target(
        f"{lone} reset / bare, CPU",
        ratios("cpu_us", store, "reset", "bare", fewest),
        8 if is_sqlite else 15,
        at_most=True,
    )


def _targets_to_textbook(store: str, size: Size, results: Results) -> None:
    is_sqlite = store == "SQLite"
    most, fewest = max(size.connections), min(size.connections)
    results.target(
        f"{store}, {most} connections: reset / textbook, throughput",
        results.ratios("per_second", store, "reset", "textbook", most),
        7 if is_sqlite else 9,
        at_most=False,
    )
    results.target(
        f"{store}, {fewest} connection{'s' * (fewest > 1)}: reset / textbook, p50",
        results.ratios("p50_ms", store, "reset", "textbook", fewest),
        0.5 if is_sqlite else 0.6,
        at_most=True,
    )


def open_load(store: str, size: Size, results: Results) -> None:
    """Measure the times of resets at a share of the maximum rate, which is measured before each."""
    most, p99 = max(size.connections), []
    with staged(store) as stage:
        stage.measure("reset", most, size.seconds)
        for turn in range(size.rounds):
            progress.print(f"{store}: reset, {_SHARE:.0%} of the maximum rate, round {turn + 1}")
            closed = stage.measure("reset", most, size.seconds)
            figures = stage.measure(
                "reset", most, _OPEN_ROUNDS_LONGER * size.seconds, rate=_SHARE * closed["per_second"]
            )
            results.figures.append({"part": "open load", "load": "closed", **closed})
            results.figures.append({"part": "open load", "load": f"open, {_SHARE:.0%}", **figures})
            p99.append(figures["p99_ms"])
    name = f"{store}: reset at {_SHARE:.0%} of the maximum rate, p99 in ms"
    results.target(name, p99, 10 if store == "SQLite" else 15, at_most=True)


def slow_disk(store: str, size: Size, results: Results) -> None:
    """Measure resets with slower flushes, alternately."""
    most = max(size.connections)
    speeds: dict[int, list[float]] = {}
    with ExitStack() as stack:
        stages = {
            flush: stack.enter_context(staged(store, flush_us=flush)) for flush in (0, *size.flushes_us)
        }
        for turn in range(size.rounds):
            for flush, stage in stages.items():
                progress.print(f"{store}: reset, a flush of {flush} µs more, round {turn + 1}")
                figures = stage.measure("reset", most, size.seconds)
                results.figures.append({"part": "slow disk", "flush_us": flush, **figures})
                speeds.setdefault(flush, []).append(figures["per_second"])
    for flush, bound in ((1_000, 0.95), (5_000, 0.75)):
        if flush in speeds:
            ratios = [slow / fast for slow, fast in zip(speeds[flush], speeds[0], strict=True)]
            name = f"{store}, {most} connections: reset with a flush of {flush // 1000} ms / with none"
            results.target(name, ratios, bound, at_most=False)


def workers(store: str, size: Size, results: Results) -> None:
    """Measure several server processes on one database, alternately."""
    costs: dict[int, list[float]] = {}
    with ExitStack() as stack:
        stages: dict[int, Stage] = {
            count: stack.enter_context(staged(store, workers=count, module="interface.main"))
            for count in size.workers
        }
        for turn in range(size.rounds):
            for count, stage in stages.items():
                progress.print(f"{store}: reset, {count} workers, round {turn + 1}")
                figures = stage.measure("reset", max(size.connections), size.seconds)
                results.figures.append({"part": "workers", "workers": count, **figures})
                costs.setdefault(count, []).append(figures["cpu_us"])
    ratios = [two / one for two, one in zip(costs[2], costs[1], strict=True)]
    results.target(f"{store}: reset with two processes / with one, CPU", ratios, 1.15, at_most=True)


def memory(store: str, size: Size, results: Results) -> None:
    """Measure the resident memory of a server after many resets."""
    with staged(store, module="interface.main") as stage:
        done = 0
        while done < size.resets:
            progress.print(f"{store}: {done:,} resets of {size.resets:,}")
            figures = stage.measure("reset", max(size.connections), 10 * size.seconds)
            results.figures.append({"part": "memory", **figures})
            done += figures["answered"]
        grown = stage.memory_mib()
    results.target(f"{store}: resident memory after {size.resets:,} resets, MiB", grown, 120, at_most=True)
