"""The commands for users."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from application.users.import_users import COLUMNS, ImportReport
from interface.cli.core.ids import checked_client
from interface.cli.core.messages import fail, print_report, reading

_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class UserActions:
    """The actions of the commands; interface/composition creates it."""

    import_users: Callable[..., None]
    record_users: Callable[[], int | None]


def add_commands(cli: typer.Typer, actions: UserActions) -> None:
    """Add the commands."""
    users = typer.Typer(help="Users: the recipients of tickets.", no_args_is_help=True)
    cli.add_typer(users, name="users")

    @users.callback()
    def _() -> None:
        pass

    @users.command(name="import")
    def import_(
        file: Annotated[
            Path,
            typer.Argument(
                help=f"CSV in UTF-8 or UTF-16, with commas, semicolons or tabs: {','.join(COLUMNS)} in any order (`extId` is the same as `userExtId`), with |"
                " between the lines of an address.",
                dir_okay=False,
            ),
        ],
        client: Annotated[str, typer.Option(help="Client of the users.", callback=checked_client)],
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Check every line, and change nothing.")
        ] = False,
        ignore_columns: Annotated[
            bool, typer.Option("--ignore-columns", help="Ignore the columns with other names.")
        ] = False,
    ) -> None:
        """Register the users of a CSV file; a second run changes nothing.

        A line with a fault is reported and skipped, and the exit status is 1. A malformed file, such as one with a quotation mark
        that is not closed, is read up to the fault.
        """
        report = ImportReport()
        try:
            with reading(file) as content:
                chunks = iter(lambda: content.read(_CHUNK_BYTES), b"")
                actions.import_users(
                    chunks, client, dry_run=dry_run, ignore_columns=ignore_columns, report=report
                )
        except OSError as error:
            fail(f"{file} cannot be read: {error}")
        for fault in report.faults:
            print_report(fault)
        if report.bad > len(report.faults):
            print_report(f"… and {report.bad - len(report.faults)} more bad lines")
        _print_report(report, dry_run=dry_run)
        if report.bad:
            raise SystemExit(1)

    @users.command()
    def record() -> None:
        """Record the users that release 1.0 stored without an event; servers do so within ten minutes. It can be repeated.

        It also records, under your name, users with events whose row has no commitment, which servers do not:
        `tickets replay --check` lists them. Run it only if a process of release 1.0 changed them, and not a writer to the
        database.
        """
        count = actions.record_users()
        if count is None:
            Console().print("Another process records the users now.")
        else:
            Console().print(f"{count} users recorded.", highlight=False)


def _print_report(report: ImportReport, *, dry_run: bool) -> None:
    table = Table(title="Checked, nothing changed" if dry_run else "Imported")
    counts = {"good lines": report.good, "bad lines": report.bad}
    if not dry_run:
        counts |= {"new": report.created, "changed": report.changed, "unchanged": report.unchanged}
    for title in counts:
        table.add_column(title, justify="right")
    table.add_row(*map(str, counts.values()))
    Console().print(table)
