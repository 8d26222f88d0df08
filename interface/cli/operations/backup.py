"""The commands for backups."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from application.record.replay import Findings
from interface.cli.record.commands import report_findings

_SHOWN_AFTER_SECONDS = 2

ReportProgress = Callable[[str, int, int], None]


class Restored(Protocol):
    """The result of a restore. kept: the path of the previous database."""

    @property
    def kept(self) -> Path | None:
        """Path of the previous database."""

    @property
    def era(self) -> str:
        """Return the name of the new era."""


@dataclass(frozen=True)
class BackupActions:
    """The actions of the commands; interface/composition creates it. Progress is reported as (step, done, total)."""

    back_up: Callable[..., int]
    restore: Callable[..., Restored]
    mark_restored: Callable[[], str]
    check: Callable[[Callable[[int, int], None]], Findings]


def add_commands(cli: typer.Typer, actions: BackupActions) -> None:
    """Add the commands."""

    @cli.command()
    def backup(
        file: Annotated[Path, typer.Argument(help="File to write.", dir_okay=False)],
        force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    ) -> None:
        """Write a consistent snapshot of the database to a file, online.

        The file is written completely or not at all. It does not contain the keys: back them up separately. For
        PostgreSQL, the error message has the pg_dump command to run instead.
        """
        with _progress() as report:
            size = actions.back_up(file, report, replace=force)
        Console(soft_wrap=True).print(
            f"{file}: {size:,} bytes, checked. It does not contain the keys.", highlight=False, markup=False
        )

    @cli.command()
    def restore(
        file: Annotated[Path, typer.Argument(help="The backup.", dir_okay=False)],
        force: Annotated[
            bool,
            typer.Option(
                "--force", help="Replace a database that is not empty; it is kept under another name."
            ),
        ] = False,
    ) -> None:
        """Replace the database by a backup, and check the record. Stop the service first.

        Later events belong to a new era, so that subscribers do not confuse them with lost events.
        """
        with _progress() as report:
            restored = actions.restore(file, report, replace=force)
        console = Console(soft_wrap=True)
        if restored.kept:
            console.print(f"The previous database is now {restored.kept}.", highlight=False, markup=False)
        _print_era(restored.era)
        with _progress() as report:
            findings = actions.check(lambda done, of: report("checking the record", done, of))
        report_findings(findings)
        if findings.faults:
            raise SystemExit(1)

    @cli.command()
    def restored() -> None:
        """Record that the store was restored by an external tool, such as pg_restore. Run it before the service starts."""
        _print_era(actions.mark_restored())


def _print_era(era: str) -> None:
    Console(soft_wrap=True).print(
        f"Restored. New events belong to era {era}; subscribers ahead of the backup get an error.",
        highlight=False,
    )


@contextmanager
def _progress() -> Iterator[ReportProgress]:
    """Yield the function that reports progress; a terminal shows a bar after a while."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = progress.add_task("", total=None)
    shown_at = time.monotonic() + _SHOWN_AFTER_SECONDS

    def report(what: str, done: int, of: int) -> None:
        progress.update(task, description=what, completed=done, total=of)
        if time.monotonic() >= shown_at:
            progress.start()

    try:
        yield report
    finally:
        progress.stop()
