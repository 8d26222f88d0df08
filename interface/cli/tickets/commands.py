"""The commands for tickets."""

from collections.abc import Callable
from dataclasses import dataclass

import typer
from rich.console import Console

from application.tickets.expire_tickets import ExpiryReport


@dataclass(frozen=True)
class TicketActions:
    """The actions of the commands; interface/composition creates it."""

    run_expiry: Callable[[], ExpiryReport | None]


def add_commands(cli: typer.Typer, actions: TicketActions) -> None:
    """Add the commands."""
    jobs = typer.Typer(help="Periodic jobs of the server, run on demand.", no_args_is_help=True)
    cli.add_typer(jobs, name="jobs")

    @jobs.callback()
    def _() -> None:
        pass

    @jobs.command()
    def expire() -> None:
        """Record, once for each ticket, that it expires soon and that it has expired."""
        report = actions.run_expiry()
        if report is None:
            Console().print("Another process runs this job now.")
        else:
            Console().print(
                f"{report.soon} tickets expire soon, {report.ended} have expired.", highlight=False
            )
