"""The cost of a reset, compared with the ceiling and the textbook way. Run by `make bench` and `make bench-quick`.

Every ratio is computed within one run, in alternating rounds, so that other load of the machine affects all equally;
a figure is the median of its rounds. Prints tables, and writes all figures to var/bench/latest.json.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from application.tickets.regenerate_ticket import RegenerateTicket
from application.transaction.group_commit import Background
from interface.composition.service import start
from interface.settings import Settings
from tests.bench import load
from tests.bench.audit import audit, ledger_cost
from tests.bench.delivery import delivering
from tests.bench.results import FULL, QUICK, TINY, Results, Size, progress
from tests.bench.seed import CLIENT, seed, subject
from tests.bench.stage import STORES, Stage, environment, seal_rows, staged
from tests.bench.subscribers import depths, subscribers
from tests.support.evidence import open_store
from tests.support.server import keys_of

LATEST = Path("var/bench/latest.json")
PACKAGES = ("eventsourcing", "fastapi", "uvicorn", "uvloop", "httptools", "psycopg", "msgspec", "pydantic")
_STREAMS = 5

console = Console(width=None if sys.stdout.isatty() else 140)


def side_by_side(store: str, size: Size, results: Results) -> None:
    """Measure every operation at every number of connections, alternately."""
    with staged(store, with_textbook=True) as stage:
        _warm_up(stage, size)
        for connections in size.connections:
            for turn in range(size.rounds):
                for operation in size.operations:
                    progress.print(f"{store}: {operation}, {connections} connections, round {turn + 1}")
                    figures = stage.measure(operation, connections, size.seconds)
                    results.figures.append({"part": "side by side", **figures})
    most = max(size.connections)
    name = f"{store}, {most} connections: "
    ceiling, p99 = (0.45, 4) if store == "SQLite" else (0.35, 6)
    textbook = 3.5 if store == "SQLite" else 3
    reads = 0.7 if store == "SQLite" else 0.5
    ratio = results.ratio
    results.target(
        f"{name}reset / no-op", ratio("per_second", store, "reset", "no-op", most), ceiling, at_most=False
    )
    results.target(
        f"{name}reset / textbook",
        ratio("per_second", store, "reset", "textbook", most),
        textbook,
        at_most=False,
    )
    results.target(
        f"{name}reset p99 / no-op p99", ratio("p99_ms", store, "reset", "no-op", most), p99, at_most=True
    )
    results.target(
        f"{name}get / no-op", ratio("per_second", store, "get", "no-op", most), reads, at_most=False
    )
    if "unbatched" in size.operations:
        fewest = min(size.connections)
        results.target(
            f"{store}, {fewest} connection{'s' * (fewest > 1)}: reset p50 / unbatched p50",
            ratio("p50_ms", store, "reset", "unbatched", fewest),
            1.2,
            at_most=True,
        )


def _warm_up(stage: Stage, size: Size) -> None:
    for operation in size.operations:
        stage.measure(operation, 16, 1 if load.WITH_WRK else min(0.5, size.seconds))


def flatness(store: str, size: Size, results: Results) -> None:
    """Measure a command, without HTTP, over the length of its stream and the number of credentials."""
    few, many = size.credentials
    with staged(store, credentials=few) as small, staged(store, credentials=many) as large:
        for stage in (small, large):
            opened = open_store(stage.url)
            progress.print(f"{store}: filling in streams of {size.stream_length} events")
            seed(opened, range(many, many + _STREAMS), length=size.stream_length)
            seed(opened, range(many + _STREAMS, many + 2 * _STREAMS))
            opened.close()
            seal_rows(stage.directory, stage.url)
        lengths = Costs(small)
        long, short = range(many, many + _STREAMS), range(many + _STREAMS, many + 2 * _STREAMS)
        ratio = _interleaved_ratio(
            lengths, long, lengths, short, size, results, f"{store}: stream of {size.stream_length}"
        )
        results.target(
            f"{store}: cost at stream length {size.stream_length} / at 1", ratio, 1.1, at_most=True
        )
        lengths.close()
        big, little = Costs(large), Costs(small)
        spread = range(0, many, max(1, many // 997))
        ratio = _interleaved_ratio(
            big, spread, little, range(few), size, results, f"{store}: {many} credentials"
        )
        results.target(f"{store}: cost at {many} credentials / at {few}", ratio, 1.2, at_most=True)
        big.close()
        little.close()
        depths(store, large, size, results)
        large.measure("reset", max(size.connections), size.seconds)
        large.measure("get", max(size.connections), size.seconds)
        results.target(
            f"{store}: resident memory at {many} credentials, MiB", large.memory_mib(), 200, at_most=True
        )


class Costs:
    """Runs resets on a store, one after the other, and returns the cost of each."""

    def __init__(self, stage: Stage) -> None:
        settings = Settings(database_url=stage.url, deliver=False, **keys_of(stage.directory))
        self._running = start(settings)
        self._commands = Background(self._running.commands)
        self._number = 0

    def reset(self, number: int) -> float:
        """Return the seconds that one reset takes."""
        self._number += 1
        command = RegenerateTicket(
            subject=subject(number),
            actor=CLIENT,
            correlation_id="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            command_id=f"{self._number:032x}",
            request_digest="0" * 64,
            overrides_limit=True,
        )
        begin = time.perf_counter()
        self._commands.execute(command)
        return time.perf_counter() - begin

    def close(self) -> None:
        """Stop."""
        self._commands.close()
        self._running.close()


def _interleaved_ratio(
    mine: Costs, my_users: range, other: Costs, other_users: range, size: Size, results: Results, what: str
) -> float:
    costs: tuple[list[float], list[float]] = ([], [])
    for turn in range(size.commands):
        costs[0].append(mine.reset(my_users[turn % len(my_users)]))
        costs[1].append(other.reset(other_users[turn % len(other_users)]))
    medians = [median(cost) * 1e6 for cost in costs]
    results.figures.append(
        {"part": "flatness", "what": what, "us": round(medians[0], 1), "reference_us": round(medians[1], 1)}
        | {"store": "", "operation": "reset", "connections": 1}
    )
    return medians[0] / medians[1]


def slow_disk(store: str, size: Size, results: Results) -> None:
    """Measure resets of this service and of the textbook, with slower flushes."""
    most = max(size.connections)
    speeds: dict[int, list[float]] = {}
    with ExitStack() as stack:
        stages = {
            flush: stack.enter_context(staged(store, with_textbook=True, flush_us=flush))
            for flush in (0, *size.flushes_us)
        }
        for turn in range(size.rounds):
            for flush, stage in stages.items():
                for operation in size.on_slow_disk:
                    progress.print(f"{store}: {operation}, a flush of {flush} µs more, round {turn + 1}")
                    figures = stage.measure(operation, most, size.seconds)
                    results.figures.append({"part": "slow disk", "flush_us": flush, **figures})
                    if operation == "reset":
                        speeds.setdefault(flush, []).append(figures["per_second"])
    ratio = median(slow / fast for slow, fast in zip(speeds[1_000], speeds[0], strict=True))
    results.target(
        f"{store}, {most} connections: reset with a flush of 1 ms / with none", ratio, 0.7, at_most=False
    )


def workers(store: str, size: Size, results: Results) -> None:
    """Measure several server processes on one PostgreSQL."""
    for count in size.workers if store == "PostgreSQL" else ():
        with staged(store, workers=count) as stage:
            for turn in range(size.rounds):
                for operation in ("reset", "get"):
                    progress.print(f"PostgreSQL: {operation}, {count} workers, round {turn + 1}")
                    figures = stage.measure(operation, max(size.connections), size.seconds)
                    results.figures.append({"part": "workers", "workers": count, **figures})


def show(results: Results) -> None:
    """Print the tables."""
    for part in ("side by side", "slow disk", "workers", "delivering", "ledger", "subscribers"):
        rows = list(_medians([figures for figures in results.figures if figures["part"] == part]))
        if not rows:
            continue
        table = Table(title=f"{part} (medians)", box=SIMPLE)
        extra = {
            "slow disk": "flush_us",
            "workers": "workers",
            "delivering": "mails",
            "ledger": "ledger",
            "subscribers": "streams",
        }.get(part)
        for title in (
            "store",
            "operation",
            *([extra] if extra else []),
            "conn.",
            "per s",
            "p50 ms",
            "p99 ms",
        ):
            table.add_column(title, justify="left" if title in ("store", "operation") else "right")
        for title in ("errors", "server CPU", "database CPU", "client CPU", "ev./commit", "stored", "lost"):
            table.add_column(title, justify="right")
        for row in rows:
            shown = [row["store"], row["operation"], *([str(row[extra])] if extra else [])]
            table.add_row(
                *shown,
                str(row["connections"]),
                f"{row['per_second']:,.0f}",
                f"{row['p50_ms']:.2f}",
                f"{row['p99_ms']:.2f}",
                str(row["errors"]),
                *(f"{row[cpu]:.2f}" for cpu in ("server_cpu", "database_cpu", "client_cpu")),
                str(row["events_per_commit"] or ""),
                str(row.get("stored", "")),
                str(row.get("lost", "")),
            )
        console.print(table)
    for figures in results.figures:
        if figures["part"] == "flatness":
            console.print(
                f"{figures['what']}: {figures['us']:,.0f} µs, reference {figures['reference_us']:,.0f} µs"
            )
    table = Table(title="targets", box=SIMPLE)
    for title in ("target", "value", "wanted", "met"):
        table.add_column(title, justify="left" if title == "target" else "right")
    for target in results.targets:
        met = "[green]yes[/]" if target["met"] else "[bold red]no[/]"
        table.add_row(target["name"], f"{target['value']:,}", target["target"], met)
    console.print(table)
    resets = [figures for figures in results.figures if "lost" in figures]
    answered, stored = (sum(figures[name] for figures in resets) for name in ("answered", "stored"))
    lost = sum(figures["lost"] for figures in resets)
    console.print(f"resets answered: {answered:,}, stored: {stored:,}, lost: {lost}")


def _medians(figures: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for one in figures:
        key = (
            one["store"],
            one["operation"],
            one["connections"],
            one.get("flush_us"),
            one.get("workers"),
            one.get("mails"),
            one.get("ledger"),
            one.get("streams"),
        )
        groups.setdefault(key, []).append(one)
    for group in groups.values():
        row = dict(group[0])
        for name in ("per_second", "p50_ms", "p99_ms", "server_cpu", "database_cpu", "client_cpu"):
            row[name] = median(one[name] for one in group)
        for name in ("errors", "stored", "lost"):
            if name in row:
                row[name] = sum(one[name] for one in group)
        yield row


PARTS: dict[str, Callable[[str, Size, Results], None]] = {
    "side by side": side_by_side,
    "flatness": flatness,
    "slow disk": slow_disk,
    "workers": workers,
    "delivering": delivering,
    "ledger": ledger_cost,
    "audit": audit,
    "subscribers": subscribers,
}


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, smaller stores")
    parser.add_argument("--tiny", action="store_true", help="only show that every part runs")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; repeatable")
    parser.add_argument("--store", action="append", choices=STORES, help="only this store; repeatable")
    options = parser.parse_args(arguments)
    size = TINY if options.tiny else QUICK if options.quick else FULL
    results, begin = Results(), time.time()
    for name in options.part or PARTS:
        for store in options.store or STORES:
            PARTS[name](store, size, results)
    LATEST.parent.mkdir(parents=True, exist_ok=True)
    LATEST.write_text(
        json.dumps(
            {
                "machine": environment(),
                "python": platform.python_version(),
                "versions": {package: version(package) for package in PACKAGES},
                "client": "wrk" if load.WITH_WRK else "tests.bench.load",
                "settings": {
                    "quick": options.quick,
                    "tiny": options.tiny,
                    "seconds": size.seconds,
                    "rounds": size.rounds,
                },
                "began": begin,
                "took_seconds": round(time.time() - begin),
                "targets": results.targets,
                "figures": results.figures,
            },
            indent=1,
        )
    )
    show(results)
    console.print(f"written to {LATEST}")


if __name__ == "__main__":
    run()
