"""The tables of a run, on the terminal."""

import sys
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

console = Console(width=None if sys.stdout.isatty() else 140)


def show(parts: list[dict[str, Any]]) -> None:
    """Print the loads and the targets of these parts."""
    for name in dict.fromkeys(part["part"] for part in parts):
        rows = [(part["store"], row) for part in parts if part["part"] == name for row in part["rows"]]
        if rows:
            console.print(_loads(name, rows))
    table = Table(title="targets: the median (least-most of the rounds)", box=SIMPLE)
    for title in ("target", "value", "wanted", ""):
        table.add_column(title, justify="left" if title == "target" else "right")
    targets = [target for part in parts for target in part["targets"]]
    for target in targets:
        met = "[green]met[/]" if target["met"] else "[bold red]missed[/]"
        table.add_row(target["name"], value_of(target), target["target"], met)
    console.print(table)
    stored = sum(row["stored"] for part in parts for row in part["rows"] if "stored" in row)
    answered = sum(row["answered"] for part in parts for row in part["rows"] if "stored" in row)
    missed = sum(not target["met"] for target in targets)
    console.print(
        f"resets answered: {answered:,}, stored: {stored:,}; targets missed: {missed} of {len(targets)}"
    )


def _loads(part: str, rows: list[tuple[str, dict[str, Any]]]) -> Table:
    table = Table(title=f"{part}: the median (least-most of the rounds)", box=SIMPLE)
    for title in ("store", "operation"):
        table.add_column(title)
    for title in ("conn.", "per s", "CPU µs", "p50 ms", "p99 ms", "server", "database", "client", "MiB"):
        table.add_column(title, justify="right")
    for store, row in rows:
        table.add_row(
            store,
            ", ".join(filter(None, [row["operation"], row["variant"]])),
            str(row["connections"]),
            *(spread(*row[measure]) if measure in row else "" for measure in ("per_second", "cpu_us")),
            *(number(row[measure][0]) for measure in ("p50_ms", "p99_ms")),
            *(
                number(row[measure][0]) if measure in row else ""
                for measure in ("server_cpu", "database_cpu", "client_cpu", "memory_mib")
            ),
        )
    return table


def value_of(target: dict[str, Any]) -> str:
    """Return the value of a target, with the least and the most of its rounds."""
    return spread(target["value"], target["least"], target["most"])


def spread(middle: float, least: float, most: float) -> str:
    """Return a median with the least and the most; one number if they are equal."""
    return number(middle) if least == most else f"{number(middle)} ({number(least)}-{number(most)})"


def number(value: float) -> str:
    """Return a number with three significant digits, or more if it is an integer."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
