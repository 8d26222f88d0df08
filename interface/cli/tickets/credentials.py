"""The commands that import and export credentials."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from application.tickets.import_tickets import ImportReport
from interface.cli.core.files import open_private
from interface.cli.core.ids import checked_client, checked_id
from interface.cli.core.messages import fail, print_line, print_report, reading

_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class CredentialActions:
    """The actions of the commands; interface/composition creates it."""

    import_credentials: Callable[..., None]
    export: Callable[[str], Iterator[tuple[str, Iterator[str]]]]


def add_commands(cli: typer.Typer, actions: CredentialActions) -> None:
    """Add the commands."""
    credentials = typer.Typer(
        help="Credentials with their hashes, from and for other systems.", no_args_is_help=True
    )
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
        history: Annotated[
            Path | None,
            typer.Option(
                help="The signed document with the history in the other system: the events contain its SHA-256.",
                exists=True,
                dir_okay=False,
            ),
        ] = None,
    ) -> None:
        """Import the credentials of another system; a second run changes nothing, so an interrupted one is repeated.

        Nothing is sent. A row is refused, with its line and a code, if it breaks a rule, its user is not registered, or this
        service has changed the credential; then the exit status is 1.
        """
        report = ImportReport()
        try:
            history_digest = _digest(history) if history else None
            with reading(file) as content:
                actions.import_credentials(
                    iter(lambda: content.read(_CHUNK_BYTES), b""),
                    client,
                    source=source,
                    salt_first=salt_first,
                    dry_run=dry_run,
                    history_digest=history_digest,
                    report=report,
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

    _add_export(credentials, actions)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add_export(credentials: typer.Typer, actions: CredentialActions) -> None:
    @credentials.command()
    def export(
        client: Annotated[str, typer.Argument(help="Client (tenant).", callback=checked_client)],
        output: Annotated[
            Path,
            typer.Option(
                "--output", "-o", help="The directory to write, which must not exist.", file_okay=False
            ),
        ],
    ) -> None:
        """Write policies, users, credentials with their hashes, and the history of a client, for another installation.

        The files contain personal data and hashes; only you can read them. docs/migration.md describes them.
        """
        files = actions.export(client)
        first = next(files)
        try:
            output.mkdir(0o700)
            for name, content in chain([first], files):
                (output / name).parent.mkdir(0o700, exist_ok=True)
                with open_private(output / name) as file:
                    file.writelines(part.encode() for part in content)
                print_line(str(output / name))
        except OSError as error:
            fail(f"{output} cannot be written: {error}")


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
