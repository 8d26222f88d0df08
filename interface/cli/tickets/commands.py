"""The commands for tickets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console

from application.record.replay import Findings
from application.tickets.expire_tickets import ExpiryReport
from interface.cli.core.messages import counting
from interface.cli.record.commands import report_findings


@dataclass(frozen=True)
class TicketActions:
    """The actions of the commands; interface/composition creates it."""

    run_expiry: Callable[[], ExpiryReport | None]
    run_check: Callable[[int, int | None, Callable[[int, int], None]], Findings | str]


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

    @jobs.command()
    def check(
        every: Annotated[
            int, typer.Option(min=0, help="Do nothing if the newest check is younger than this many seconds.")
        ] = 0,
        processes: Annotated[
            int | None, typer.Option(min=1, help="Processes to use; by default, one per core.")
        ] = None,
    ) -> None:
        """Verify the complete record, as `tickets replay --check`, at the lowest priority; exit with status 1 if it differs."""
        with counting("checking") as report_progress:
            found = actions.run_check(every, processes, report_progress)
        if isinstance(found, str):
            Console().print(found, highlight=False)
            return
        report_findings(found)
        if found.faults or found.lost:
            raise SystemExit(1)
