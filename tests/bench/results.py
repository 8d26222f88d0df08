"""The size of a benchmark, and its results."""

from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.console import Console

from tests.bench.stage import OPERATIONS, USERS

progress = Console(stderr=True)


@dataclass(frozen=True, kw_only=True)
class Size:
    """The size of a benchmark.

    seconds, rounds, connections: of each load. credentials: of the small and of the large store. leaves: of the ledger
    that evidence is made from. mail_servers: those beside which resets are measured. history: events of the credential
    that is read. long_history: events of the credential whose evidence is large. page: events of a page of the feed.
    """

    seconds: float
    rounds: int
    connections: tuple[int, ...]
    operations: tuple[str, ...]
    credentials: tuple[int, int]
    workers: tuple[int, ...]
    flushes_us: tuple[int, ...]
    on_slow_disk: tuple[str, ...]
    mail_servers: tuple[str, ...]
    mails: int
    leaves: int
    stream_length: int = 10_000
    commands: int = 1_000
    history: int = 1_000
    long_history: int = 20_000
    reads: int = 100
    streams: int = 100
    idle_streams: int = 1_000
    watched_resets: int = 200
    page: int = 1_000


FULL = Size(
    seconds=2,
    rounds=4,
    connections=(1, 16, 64),
    operations=tuple(OPERATIONS),
    credentials=(1_000, 1_000_000),
    workers=(1, 2, 4),
    flushes_us=(1_000, 5_000),
    on_slow_disk=("reset", "textbook"),
    mail_servers=("off", "hangs", "takes"),
    mails=5_000,
    leaves=1_000_000,
)
QUICK = Size(
    seconds=1,
    rounds=3,
    connections=(64,),
    operations=("no-op", "textbook", "reset", "get"),
    credentials=(1_000, 5_000),
    workers=(),
    flushes_us=(1_000,),
    on_slow_disk=("reset",),
    mail_servers=("off", "hangs"),
    mails=500,
    leaves=5_000,
)
# Only shows that every part runs: its figures are meaningless.
TINY = Size(
    seconds=0.2,
    rounds=1,
    connections=(8,),
    operations=tuple(OPERATIONS),
    credentials=(10, 2 * USERS),
    workers=(2,),
    flushes_us=(1_000,),
    on_slow_disk=("reset",),
    mail_servers=("off", "hangs"),
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
)


@dataclass
class Results:
    """All figures of a run, and the targets."""

    figures: list[dict[str, Any]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)

    def target(self, name: str, value: float, bound: float, *, at_most: bool) -> None:
        """Record whether a target is met."""
        met = value <= bound if at_most else value >= bound
        sign = "≤" if at_most else "≥"
        self.targets.append({"name": name, "value": round(value, 3), "target": f"{sign} {bound}", "met": met})

    def of(self, store: str, operation: str, connections: int, part: str) -> list[dict[str, Any]]:
        """Return the figures of the rounds of one operation."""
        wanted = (store, operation, connections, part)
        return [
            f for f in self.figures if (f["store"], f["operation"], f["connections"], f["part"]) == wanted
        ]

    def ratio(self, figure: str, store: str, operation: str, to: str, connections: int) -> float:
        """Return the median, over the rounds, of the ratio of two operations."""
        mine = self.of(store, operation, connections, "side by side")
        theirs = self.of(store, to, connections, "side by side")
        return float(median(a[figure] / b[figure] for a, b in zip(mine, theirs, strict=True)))
