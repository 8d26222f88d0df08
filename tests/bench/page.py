"""The figures of docs/benchmarks.md and of the README: `make bench-page` writes them between their markers.

They are read from docs/benchmarks.json, the copy of the measured parts without their single rounds.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.report import number, spread, value_of
from tests.bench.results import LATEST
from tests.bench.run import PARTS
from tests.bench.stage import STORES
from tests.support.server import ROOT

COPY = ROOT / "docs" / "benchmarks.json"
PAGES = (ROOT / "docs" / "benchmarks.md", ROOT / "README.md")
# The code that a reset, a verification and a read run through.
HOT_PATH = (
    *("application/transaction", "application/tickets"),
    *("domain/tickets", "domain/policies", "domain/users", "domain/shared"),
    *("interface/http/core", "interface/http/tickets", "interface/outbound/sql", "interface/outbound/keys"),
)
_SHARE = 0.1
_BLOCK = re.compile(r"(<!-- bench: ((?!end)[\w ]+) -->)\n.*?(<!-- bench: end -->)", re.DOTALL)

Measured = dict[str, dict[str, Any]]


def copied(parts: Measured) -> Measured:
    """Return the parts to publish: complete and large ones, or quick ones if there are no complete ones.

    Raises ValueError if one was measured with changes that are not committed.
    """
    sizes = {"full", "large"} if any(part["size"] == "full" for part in parts.values()) else {"quick"}
    found = {key: part for key, part in parts.items() if part["size"] in sizes}
    if not found:
        raise ValueError("nothing is measured: run `make bench`")
    for key, part in found.items():
        if not re.fullmatch("[0-9a-f]{40}", part["revision"]):
            raise ValueError(
                f"{key} was measured at {part['revision'] or 'an unknown revision'}: commit, and repeat it"
            )
    order = [*PARTS, *(part["part"] for part in found.values())]

    def place(part: dict[str, Any]) -> tuple[int, int]:
        return order.index(part["part"]), STORES.index(part["store"])

    return {
        key: {name: value for name, value in part.items() if name != "figures"}
        for key, part in sorted(found.items(), key=lambda item: place(item[1]))
    }


def filled_in(text: str, parts: Measured) -> str:
    """Return the text of a page with these figures between its markers. Raises KeyError for an unknown marker."""
    blocks: dict[str, Callable[[Measured], Iterable[str]]] = {
        "summary": _summary,
        "machine": _machine,
        "targets": _targets,
        "many connections": lambda parts: _side_by_side(parts, max),
        "one connection": lambda parts: _side_by_side(parts, min),
        "other loads": _other_loads,
    }
    if not parts:
        blocks = dict.fromkeys(blocks, lambda _: ["Not measured yet."])
    return _BLOCK.sub(lambda found: "\n".join([found[1], "", *blocks[found[2]](parts), "", found[3]]), text)


def changed_share(revision: str) -> float:
    """Return which share of the lines of the hot path has changed since a revision."""
    changed = subprocess.run(
        ["git", "diff", "--numstat", revision, "--", *HOT_PATH],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split("\t") for line in changed.stdout.splitlines()]
    written = sum(
        len(file.read_text().splitlines()) for room in HOT_PATH for file in (ROOT / room).rglob("*.py")
    )
    return sum(max(int(added), int(deleted)) for added, deleted, _ in lines) / written


def is_current(revision: str) -> bool:
    """Return whether figures of this revision describe the present code."""
    return changed_share(revision) <= _SHARE


def _summary(parts: Measured) -> Iterator[str]:
    most, fewest = (_connections(parts, pick) for pick in (max, min))
    found = {
        (part["store"], row["operation"], row["connections"]): row
        for part, row in _rows(parts, "side by side")
    }
    yield f"| {most} connections | SQLite | PostgreSQL |"
    yield "|---|---|---|"
    for title, operation, connections in (
        ("reset", "reset", most),
        ("verify", "verify", most),
        ("reset, one connection", "reset", fewest),
    ):
        cells = [_in_short(found.get((store, operation, connections))) for store in STORES]
        yield f"| {title} | {' | '.join(cells)} |"


def _in_short(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    speed, cpu, p99 = (number(row[measure][0]) for measure in ("per_second", "cpu_us", "p99_ms"))
    return f"{speed} per s, {cpu} µs of CPU each, p99 {p99} ms"


def _rows(parts: Measured, *names: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the loads of the parts with these names, each with its part."""
    return [(part, row) for part in parts.values() if part["part"] in names for row in part["rows"]]


def _connections(parts: Measured, pick: Callable[[Iterable[int]], int]) -> int:
    return pick(row["connections"] for _, row in _rows(parts, "side by side"))


def _machine(parts: Measured) -> Iterator[str]:
    for revision in dict.fromkeys(part["revision"] for part in parts.values()):
        of = [part for part in parts.values() if part["revision"] == revision]
        days = sorted({f"{datetime.fromtimestamp(part['began'], UTC):%Y-%m-%d}" for part in of})
        names = ", ".join(dict.fromkeys(part["part"] for part in of))
        minutes = sum(part["took_seconds"] for part in of) / 60
        sizes = " and ".join(dict.fromkeys(part["size"] for part in of))
        yield (
            f"- Measured on {' and '.join(days)} at revision `{revision[:12]}`, size {sizes}, in {minutes:.0f} minutes:"
            f" {names}."
        )
    for machine in _different(parts, "machine"):
        yield f"- {machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}."
    for python in _different(parts, "python"):
        yield f"- Python {python}."
    for versions in _different(parts, "versions"):
        yield f"- {', '.join(f'{package} {version}' for package, version in versions.items())}."
    for client in _different(parts, "client"):
        yield f"- The load is from {client}, on the same cores."


def _different(parts: Measured, name: str) -> list[Any]:
    found: list[Any] = []
    for part in parts.values():
        if part[name] not in found:
            found.append(part[name])
    return found


def _targets(parts: Measured) -> Iterator[str]:
    yield "| target | SQLite | PostgreSQL | wanted |"
    yield "|---|---|---|---|"
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for part in parts.values():
        for target in part["targets"]:
            title = re.sub(rf"^{part['store']}(?:, |: )", "", target["name"])
            table.setdefault(title, {})[part["store"]] = target
    for title, targets in table.items():
        cells = [_cell(targets[store]) if store in targets else "" for store in STORES]
        wanted = ", ".join(dict.fromkeys(target["target"] for target in targets.values()))
        yield f"| {title} | {' | '.join(cells)} | {wanted} |"


def _cell(target: dict[str, Any]) -> str:
    return value_of(target) if target["met"] else f"**{value_of(target)} missed**"


def _side_by_side(parts: Measured, pick: Callable[[Iterable[int]], int]) -> Iterator[str]:
    connections = _connections(parts, pick)
    found = [
        (part["store"], row["operation"], row)
        for part, row in _rows(parts, "side by side")
        if row["connections"] == connections
    ]
    yield from _loads(found, f"{connections} connection{'s' * (connections > 1)}")


def _other_loads(parts: Measured) -> Iterator[str]:
    names = {part["part"] for part in parts.values()} - {"side by side"}
    found = [
        (part["store"], f"{part['part']}: {', '.join(filter(None, (row['operation'], row['variant'])))}", row)
        for part, row in _rows(parts, *names)
    ]
    yield from _loads(found, "load")


def _loads(rows: list[tuple[str, str, dict[str, Any]]], title: str) -> Iterator[str]:
    titles = " | ".join(f"{store}, per s | CPU, µs | p50 / p99, ms" for store in STORES)
    yield f"| {title} | {titles} |"
    yield f"|---|{'---|' * 3 * len(STORES)}"
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for store, name, row in rows:
        table.setdefault(name, {})[store] = row
    for name, found in table.items():
        yield f"| {name} | {' | '.join(_cells(found.get(store)) for store in STORES)} |"


def _cells(row: dict[str, Any] | None) -> str:
    if row is None:
        return " | | "
    times = f"{number(row['p50_ms'][0])} / {number(row['p99_ms'][0])}"
    cpu = spread(*row["cpu_us"]) if "cpu_us" in row else ""
    return f"{spread(*row['per_second'])} | {cpu} | {times}"


def main() -> None:
    """Copy the figures, and write the pages. Raises SystemExit if they cannot be published."""
    parts: Measured = json.loads(LATEST.read_text())["parts"] if LATEST.exists() else {}
    try:
        parts = copied(parts)
    except ValueError as error:
        sys.exit(str(error))
    COPY.write_text(json.dumps(parts, indent=1, ensure_ascii=False) + "\n")
    write_pages()


def write_pages(pages: tuple[Path, ...] = PAGES) -> None:
    """Write the copied figures into the pages."""
    parts: Measured = json.loads(COPY.read_text())
    for page in pages:
        page.write_text(filled_in(page.read_text(), parts))


if __name__ == "__main__":
    main()
