"""The size of a benchmark, and its results: one file, into which each part is merged as it ends."""

import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from tests.bench import load
from tests.bench.stage import OPERATIONS, USERS, environment
from tests.support.server import ROOT

LATEST = Path("var/bench/latest.json")
_PACKAGES = ("eventsourcing", "fastapi", "uvicorn", "uvloop", "httptools", "psycopg", "msgspec", "pydantic")
# The measures of a load, of which a report has the median, the minimum and the maximum.
MEASURES = (
    "per_second",
    "cpu_us",
    "p50_ms",
    "p99_ms",
    "memory_mib",
    "server_cpu",
    "database_cpu",
    "client_cpu",
)
_SUMS = ("answered", "stored")
_OTHERS = (
    "part",
    "store",
    "operation",
    "connections",
    "abandoned",
    "errors",
    "seconds",
    "rate",
    "client_cpu_seconds",
    "items",
)
_LABELS = {*MEASURES, *_SUMS, *_OTHERS, "events_per_commit"}

progress = Console(stderr=True)


@dataclass(frozen=True, kw_only=True)
class Size:
    """The size of a benchmark.

    seconds, rounds, connections: of each load. credentials: of the small and of the large store. leaves: of the ledger
    that evidence is made from. history: events of the credential
    that is read. long_history: events of the credential whose evidence is large. page: events of a page of the feed.
    commands: of each round without HTTP. starts: of a server. resets: those after which the memory of a server is measured.
    bulk_users: of a bulk job.
    """

    name: str
    seconds: float
    rounds: int
    connections: tuple[int, ...]
    operations: tuple[str, ...]
    credentials: tuple[int, int]
    workers: tuple[int, ...]
    flushes_us: tuple[int, ...]
    mails: int
    leaves: int
    stream_length: int = 10_000
    commands: int = 400
    history: int = 1_000
    long_history: int = 20_000
    reads: int = 100
    streams: int = 100
    idle_streams: int = 1_000
    watched_resets: int = 200
    page: int = 1_000
    starts: int = 5
    resets: int = 1_000_000
    bulk_users: int = 10_000


FULL = Size(
    name="full",
    seconds=1,
    rounds=4,
    connections=(1, 64),
    operations=tuple(OPERATIONS),
    credentials=(1_000, 1_000_000),
    workers=(1, 2),
    flushes_us=(1_000, 5_000),
    mails=2_000,
    leaves=1_000_000,
)
LARGE = replace(FULL, name="large", credentials=(1_000, 10_000_000))
QUICK = replace(
    FULL,
    name="quick",
    rounds=3,
    credentials=(1_000, 5_000),
    flushes_us=(1_000,),
    mails=500,
    leaves=5_000,
    starts=3,
)
# Only shows that every part runs: its figures are meaningless.
TINY = Size(
    name="tiny",
    seconds=0.2,
    rounds=1,
    connections=(8,),
    operations=tuple(OPERATIONS),
    credentials=(10, 2 * USERS),
    workers=(1, 2),
    flushes_us=(1_000,),
    mails=10,
    leaves=50,
    stream_length=20,
    commands=10,
    history=10,
    long_history=20,
    reads=2,
    streams=2,
    idle_streams=2,
    watched_resets=2,
    page=10,
    starts=1,
    resets=20,
    bulk_users=40,
)


@dataclass
class Results:
    """The figures of a part, and its targets."""

    figures: list[dict[str, Any]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)

    def target(self, name: str, value: float | Sequence[float], bound: float, *, at_most: bool) -> None:
        """Record whether a target is met; several values: whether their median meets it."""
        values = [value] if isinstance(value, int | float) else value
        middle = median(values)
        met = middle <= bound if at_most else middle >= bound
        self.targets.append(
            {
                "name": name,
                "value": _rounded(middle),
                "least": _rounded(min(values)),
                "most": _rounded(max(values)),
                "target": f"{'≤' if at_most else '≥'} {bound:,}",
                "met": met,
            }
        )

    def of(self, store: str, operation: str, connections: int, part: str) -> list[dict[str, Any]]:
        """Return the figures of the rounds of one operation."""
        wanted = (store, operation, connections, part)
        return [
            f for f in self.figures if (f["store"], f["operation"], f["connections"], f["part"]) == wanted
        ]

    def ratios(self, figure: str, store: str, operation: str, to: str, connections: int) -> list[float]:
        """Return the ratio of two operations in each round."""
        mine = self.of(store, operation, connections, "side by side")
        others = self.of(store, to, connections, "side by side")
        return [a[figure] / b[figure] for a, b in zip(mine, others, strict=True)]

    def rows(self) -> list[dict[str, Any]]:
        """Return the loads, each with the median, the minimum and the maximum of its rounds."""
        groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for one in self.figures:
            if "per_second" in one:
                groups.setdefault((one["operation"], one["connections"], variant(one)), []).append(one)
        return [
            {"operation": operation, "connections": connections, "variant": which}
            | {name: _spread([one[name] for one in group]) for name in MEASURES if name in group[0]}
            | {name: sum(one[name] for one in group) for name in _SUMS if name in group[0]}
            for (operation, connections, which), group in groups.items()
        ]


def variant(figures: dict[str, Any]) -> str:
    """Return in which way a load differs from the others of its part."""
    return ", ".join(f"{name} {value}" for name, value in figures.items() if name not in _LABELS)


def _spread(values: Sequence[float]) -> list[float]:
    return [_rounded(median(values)), _rounded(min(values)), _rounded(max(values))]


def _rounded(value: float) -> float:
    return round(value, 3) if abs(value) < 10 else round(value, 1)


def revision() -> str:
    """Return the commit of the code, with `-changed` if tracked files differ from it; empty without git."""
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=-changed"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()


def measured() -> dict[str, dict[str, Any]]:
    """Return the parts measured so far, by size, part and store."""
    parts: dict[str, dict[str, Any]] = (
        # An earlier bench wrote a file without parts.
        json.loads(LATEST.read_text()).get("parts", {}) if LATEST.exists() else {}
    )
    return parts


def key_of(size: Size, part: str, store: str) -> str:
    """Return the key of a part in the file."""
    return f"{size.name}: {part}: {store}"


def keep(size: Size, part: str, store: str, results: Results, *, began: float, seconds: float) -> None:
    """Merge a part into the file; its earlier results are replaced, those of other parts are not."""
    parts = measured()
    parts[key_of(size, part, store)] = {
        "size": size.name,
        "part": part,
        "store": store,
        "revision": revision(),
        "began": round(began),
        "took_seconds": round(seconds, 1),
        "client": "wrk" if load.WITH_WRK else "tests.bench.load",
        "settings": {"seconds": size.seconds, "rounds": size.rounds},
        "machine": environment(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in _PACKAGES},
        "targets": results.targets,
        "rows": results.rows(),
        "figures": results.figures,
    }
    LATEST.parent.mkdir(parents=True, exist_ok=True)
    written = LATEST.with_suffix(".new")
    written.write_text(json.dumps({"parts": parts}, indent=1))
    written.replace(LATEST)
