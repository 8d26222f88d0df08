"""The commands for operators: migrate the schema, and diagnose an installation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text


class Health(StrEnum):
    """The result of a check."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


class Finding(NamedTuple):
    """A finding of a check. advice: empty if the check is good."""

    check: str
    health: Health
    found: str
    advice: str = ""


@dataclass(frozen=True)
class OperationActions:
    """The actions of the commands; interface/composition creates it.

    migrate: returns the version of the schema before and after.
    """

    migrate: Callable[[], tuple[int, int]]
    examine: Callable[[], Iterator[Finding]]


_STYLES = {Health.GOOD: "green", Health.WARNING: "yellow", Health.BAD: "bold red"}


def add_commands(cli: typer.Typer, actions: OperationActions) -> None:
    """Add the commands."""

    @cli.command()
    def migrate() -> None:
        """Migrate the schema of the store to this version; no effect if it is current.

        Concurrent runs are safe: one migrates, the others wait. The previous release can use the new schema, but no
        command restores the old schema: make a backup before an upgrade.
        """
        before, after = actions.migrate()
        Console().print(
            f"The schema has version {after}, as before."
            if before == after
            else f"The schema has version {after} now; it had {before}.",
            highlight=False,
        )

    @cli.command()
    def doctor() -> None:
        """Check settings, store, keys, mail server, clock and file permissions, and give advice."""
        table = Table(title="tickets doctor", title_justify="left")
        for title in ("Check", "", "Found"):
            table.add_column(title, overflow="fold")
        found: list[Finding] = []
        console = Console()
        with console.status("Looking …"):
            for finding in actions.examine():
                found.append(finding)
                advice = f"\n→ {finding.advice}" if finding.advice else ""
                table.add_row(
                    finding.check,
                    f"[{_STYLES[finding.health]}]{finding.health}[/]",
                    Text(finding.found + advice),
                )
        console.print(table)
        bad = sum(finding.health is Health.BAD for finding in found)
        warnings = sum(finding.health is Health.WARNING for finding in found)
        if bad:
            console.print(f"{bad} bad, {warnings} warnings.", highlight=False)
            raise SystemExit(1)
        console.print(f"No errors, {warnings} warnings." if warnings else "No errors.", highlight=False)
