"""How much a bench measures, and what it found."""

from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.console import Console

from tests.bench.stage import OPERATIONS

progress = Console(stderr=True)


@dataclass(frozen=True)
class Size:
    """How long a bench takes. mail_servers: beside which resets are measured; mails: so many show how fast they go."""

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


FULL = Size(
    2,
    4,
    (1, 16, 64),
    tuple(OPERATIONS),
    (1_000, 1_000_000),
    (1, 2, 4),
    (1_000, 5_000),
    ("reset", "textbook"),
    ("off", "hangs", "takes"),
    5_000,
    100_000,
)
QUICK = Size(
    1,
    3,
    (64,),
    ("no-op", "textbook", "reset", "get"),
    (1_000, 5_000),
    (),
    (1_000,),
    ("reset",),
    ("off", "hangs"),
    500,
    5_000,
)


@dataclass
class Results:
    """All figures of a run, and the targets."""

    figures: list[dict[str, Any]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)

    def target(self, name: str, value: float, bound: float, *, at_most: bool) -> None:
        """Note whether a target is met."""
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
        """Return the median, over the rounds, of one operation's figure to another's."""
        mine = self.of(store, operation, connections, "side by side")
        theirs = self.of(store, to, connections, "side by side")
        return float(median(a[figure] / b[figure] for a, b in zip(mine, theirs, strict=True)))
