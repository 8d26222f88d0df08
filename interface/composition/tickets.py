"""The job that records the expiry of tickets, and the actions of the commands for jobs."""

import secrets
from collections.abc import Callable
from concurrent.futures import Future

import typer

from application.tickets.expire_tickets import ExpiryReport, expire_tickets
from application.transaction.command import Answer, Command
from domain.record.installation import OperatorActed
from interface.cli.tickets import commands, credentials
from interface.composition.credentials import export_of, import_from
from interface.composition.installation import note
from interface.composition.record import run_check
from interface.composition.row_seals import reopen_now, seal_now
from interface.composition.service import RunningService, in_background
from interface.outbound.system import system_clock
from interface.settings import read_settings
from interface.trace_context import new_traceparent


def expire(
    running: RunningService,
    submit: Callable[[Command], Future[Answer]],
    stopped: Callable[[], bool] = lambda: False,
) -> ExpiryReport | None:
    """Record which tickets expire soon and which have expired; None if another process runs the job."""
    return expire_tickets(
        store=running.store,
        tickets=running.store,
        clock=system_clock,
        submit=submit,
        new_command_id=lambda: secrets.token_hex(16),
        correlation_id=new_traceparent(),
        stopped=stopped,
    )


def run_expiry() -> ExpiryReport | None:
    """Record the expiry of tickets now; None if another process runs the job."""
    with in_background(read_settings()) as (running, background):
        report = expire(running, background.submit)
        if report:
            figures = {"soon": report.soon, "ended": report.ended}
            note(running.store, OperatorActed, "tickets jobs expire", failed=False, **figures)
        return report


def add_commands(cli: typer.Typer) -> None:
    """Add the commands."""
    actions = commands.TicketActions(
        run_expiry=run_expiry, run_check=run_check, seal_rows=seal_now, reopen_seals=reopen_now
    )
    commands.add_commands(cli, actions)
    credentials.add_commands(
        cli, credentials.CredentialActions(import_credentials=import_from, export=export_of)
    )
