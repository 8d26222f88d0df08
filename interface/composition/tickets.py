"""The actions of the commands for tickets."""

import typer

from application.tickets.expire_tickets import ExpiryReport
from interface.cli.tickets import commands
from interface.composition.jobs import expire
from interface.composition.service import in_background
from interface.settings import read_settings


def run_expiry() -> ExpiryReport | None:
    """Record the expiry of tickets now; None if another process runs the job."""
    with in_background(read_settings()) as (running, background):
        return expire(running, background.submit)


def add_commands(cli: typer.Typer) -> None:
    """Add the commands."""
    commands.add_commands(cli, commands.TicketActions(run_expiry=run_expiry))
