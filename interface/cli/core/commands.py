"""The command line `tickets`."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from application.tickets.expire_tickets import ExpiryReport
from application.users.import_users import ImportReport
from interface import version
from interface.cli.core.messages import fail
from interface.cli.delivery.commands import DeliveryActions, add_delivery
from interface.cli.feed.commands import FeedActions, add_feed
from interface.cli.operations.backup import BackupActions, add_backup
from interface.cli.operations.commands import OperationActions, add_operations
from interface.cli.record.commands import AuditActions, add_audit

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Actions:
    """What the commands do; interface/composition wires it."""

    serve: Callable[..., None]
    sign_token: Callable[..., str]
    run_expiry: Callable[[], ExpiryReport | None]
    import_users: Callable[..., None]
    audit: AuditActions
    feed: FeedActions
    delivery: DeliveryActions
    backup: BackupActions
    operations: OperationActions


def build_cli(actions: Actions) -> typer.Typer:
    """Return the command line over the actions."""
    cli = typer.Typer(
        name="tickets",
        help="Ticket credentials: create, reset and deliver them, over HTTP.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )

    @cli.callback()
    def _(
        _version: Annotated[
            bool,
            typer.Option(
                "--version", help="Print the version, and exit.", callback=_print_version, is_eager=True
            ),
        ] = False,
    ) -> None:
        pass

    @cli.command()
    def serve(
        host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
        port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
        database: Annotated[
            str | None, typer.Option(help="sqlite:///PATH or postgresql://…; overrides TICKETS_DATABASE_URL.")
        ] = None,
        workers: Annotated[int, typer.Option(min=1, max=64, help="Server processes.")] = 1,
        demo: Annotated[
            bool,
            typer.Option(
                "--demo", help="On an empty store, register a user with a ticket; print a curl line."
            ),
        ] = False,
    ) -> None:
        """Serve HTTP until a signal says stop."""
        actions.serve(host=host, port=port, database=database, workers=workers, demo=demo)

    @cli.command()
    def token(
        sub: Annotated[str, typer.Option(help="Who the caller is: the actor in the history.")],
        client: Annotated[
            list[str], typer.Option(help="Client the caller may touch; * for all. Repeatable.")
        ],
        permission: Annotated[
            list[str] | None,
            typer.Option(help="Permission such as AccessControl.CredentialView. Repeatable."),
        ] = None,
        all_permissions: Annotated[bool, typer.Option("--all", help="Every permission.")] = False,
        ttl: Annotated[str, typer.Option(help="How long it is valid: 90s, 15m, 1h, 7d.")] = "1h",
    ) -> None:
        """Sign a token with the service's own key, and print it."""
        if all_permissions == bool(permission):
            fail("name the permissions with --permission, or give --all")
        print(  # noqa: T201 - the bare token, for $(tickets token …)
            actions.sign_token(
                subject=sub, clients=client, permissions=permission or [], lifetime=_lifetime(ttl)
            )
        )

    _add_jobs(cli, actions)
    _add_users(cli, actions)
    add_audit(cli, actions.audit)
    add_feed(cli, actions.feed)
    add_delivery(cli, actions.delivery)
    add_backup(cli, actions.backup)
    add_operations(cli, actions.operations)
    return cli


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tickets {version.current()}")  # noqa: T201
        raise typer.Exit


def _add_jobs(cli: typer.Typer, actions: Actions) -> None:
    jobs = typer.Typer(help="What a running server does by itself, done now.", no_args_is_help=True)
    cli.add_typer(jobs, name="jobs")

    @jobs.callback()
    def _() -> None:
        pass

    @jobs.command()
    def expire() -> None:
        """Say of each ticket once that it ends soon, and once that it has ended."""
        report = actions.run_expiry()
        if report is None:
            Console().print("Another process does it now.")
        else:
            Console().print(f"{report.soon} tickets end soon, {report.ended} have ended.", highlight=False)


def _add_users(cli: typer.Typer, actions: Actions) -> None:
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
                help="CSV in UTF-8: userExtId,email,name,language,postalAddress, whose lines are parted by |.",
                dir_okay=False,
            ),
        ],
        client: Annotated[str, typer.Option(help="Client to whom the users belong.")],
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Check every line, and change nothing.")
        ] = False,
    ) -> None:
        """Register the users of a file. Bad lines are reported and passed over; a second run changes nothing."""
        report = ImportReport()
        try:
            with (
                _progress() as progress,
                progress.open(file, "r", encoding="utf-8-sig", newline="", description=file.name) as lines,
            ):
                actions.import_users(
                    lines, client, actor="tickets users import", dry_run=dry_run, report=report
                )
        except (OSError, UnicodeDecodeError) as error:
            fail(f"{file} cannot be read: {error}")
        for fault in report.faults:
            Console(stderr=True, soft_wrap=True).print(fault, highlight=False, markup=False)
        _print_report(report, dry_run=dry_run)
        if report.faults:
            raise SystemExit(1)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _print_report(report: ImportReport, *, dry_run: bool) -> None:
    table = Table(title="Checked, nothing changed" if dry_run else "Imported")
    counts = {"good lines": report.good, "bad lines": len(report.faults)}
    if not dry_run:
        counts |= {"new": report.created, "changed": report.changed, "unchanged": report.unchanged}
    for title in counts:
        table.add_column(title, justify="right")
    table.add_row(*map(str, counts.values()))
    Console().print(table)


def _lifetime(text: str) -> timedelta:
    match = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", text)
    if not match:
        fail(f"--ttl {text}: give a number and a unit, such as 90s, 15m, 1h or 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
