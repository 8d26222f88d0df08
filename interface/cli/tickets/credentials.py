"""The commands that import credentials of another system."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from application.tickets.import_tickets import ImportReport
from interface.cli.core.ids import checked_client, checked_id
from interface.cli.core.messages import fail, print_report, reading

_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class CredentialActions:
    """The actions of the commands; interface/composition creates it."""

    import_credentials: Callable[..., None]


def add_commands(cli: typer.Typer, actions: CredentialActions) -> None:
    """Add the commands."""
    credentials = typer.Typer(help="Credentials of another system, with their hashes.", no_args_is_help=True)
    cli.add_typer(credentials, name="credentials")

    @credentials.callback()
    def _() -> None:
        pass

    @credentials.command(name="import")
    def import_(
        file: Annotated[
            Path, typer.Argument(help="JSON lines in UTF-8, a credential per line.", dir_okay=False)
        ],
        client: Annotated[
            str,
            typer.Option(help="Client of the users; they are registered before.", callback=checked_client),
        ],
        source: Annotated[
            str, typer.Option(help="Name of the other system, for the record.", callback=checked_id)
        ],
        salt_first: Annotated[
            bool,
            typer.Option(
                "--salt-first", help="The salt of a fast hash stands before the ticket, not after it."
            ),
        ] = False,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Check every row against the store, and change nothing.")
        ] = False,
    ) -> None:
        """Import the credentials of another system; a second run changes nothing, so an interrupted one is repeated.

        Nothing is sent. A row is refused, with its line and a code, if it breaks a rule, its user is not registered, or this
        service has changed the credential; then the exit status is 1.
        """
        report = ImportReport()
        try:
            with reading(file) as content:
                chunks = iter(lambda: content.read(_CHUNK_BYTES), b"")
                actions.import_credentials(
                    chunks, client, source=source, salt_first=salt_first, dry_run=dry_run, report=report
                )
        except OSError as error:
            fail(f"{file} cannot be read: {error}")
        for fault in report.faults:
            print_report(fault)
        if report.refused > len(report.faults):
            print_report(f"… and {report.refused - len(report.faults)} more refused rows")
        _print_report(report, dry_run=dry_run)
        if report.refused:
            raise SystemExit(1)


def _print_report(report: ImportReport, *, dry_run: bool) -> None:
    table = Table(title="Checked, nothing changed" if dry_run else "Imported")
    table.add_column("rows")
    table.add_column("number", justify="right")
    rows = {
        "new": report.created,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "refused": report.refused,
    }
    for kind, counts in (
        ("state", report.states),
        ("hash", report.hashes),
        ("hash", report.treatments),
        ("by the policy:", report.assumed),
        ("refused:", report.codes),
    ):
        rows |= {f"{kind} {name}": count for name, count in sorted(counts.items())}
    for name, count in rows.items():
        table.add_row(name, str(count))
    Console().print(table)
