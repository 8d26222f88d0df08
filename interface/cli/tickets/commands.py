"""The commands for tickets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

import typer
from rich.console import Console

from application.operations.seal_rows import SealReport
from application.record.replay import Findings
from application.tickets.expire_tickets import ExpiryReport
from interface.cli.core.messages import counting, print_report
from interface.cli.record.commands import report_findings

_BUSY = "Another process runs this job now."
_REOPENED = "From now on, rows without a valid seal are accepted if they are equal to their events."


class SealRows(Protocol):
    """Seals the rows of earlier releases."""

    def __call__(self, report: Callable[[int], None], *, finish: bool) -> SealReport | None:
        """Seal them; None: another process is doing so. report: receives the number of checked rows."""


@dataclass(frozen=True)
class TicketActions:
    """The actions of the commands; interface/composition creates it."""

    run_expiry: Callable[[], ExpiryReport | None]
    run_check: Callable[[int, int | None, Callable[[int, int], None]], Findings | str]
    seal_rows: SealRows
    reopen_seals: Callable[[], bool]


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
            Console().print(_BUSY)
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

    _add_seal(jobs, actions)


def _add_seal(jobs: typer.Typer, actions: TicketActions) -> None:
    @jobs.command()
    def seal(
        finish: Annotated[
            bool,
            typer.Option(
                "--finish",
                help="No process of a release before 1.1 uses the store any more: from now on, refuse each row without a valid"
                " seal.",
            ),
        ] = False,
        reopen: Annotated[
            bool,
            typer.Option(
                "--reopen",
                help="Seal nothing, and accept rows without a valid seal again: before a return to a release before 1.1.",
            ),
        ] = False,
    ) -> None:
        """Seal the rows that a release before 1.1 wrote, if they are equal to their events.

        With --finish, also in a store whose rows were all sealed before, such as after its keys were lost. Exits with
        status 1 if rows differ from their events; then nothing is finished. --reopen is the opposite of --finish; it has no
        effect on running servers, and none with TICKETS_ROW_SEALS=required.
        """
        if finish and reopen:
            raise typer.BadParameter("--finish and --reopen exclude each other")
        if reopen:
            is_done = actions.reopen_seals()
            Console().print(_REOPENED if is_done else _BUSY, highlight=False)
            return
        with counting("sealing") as show_progress:
            report = actions.seal_rows(lambda done: show_progress(done, done), finish=finish)
        if report is None:
            Console().print(_BUSY)
            return
        for place in report.refused:
            print_report(f"{place}: the read row differs from its events")
        is_finished = finish and not report.refused
        Console().print(
            f"{report.sealed} of {report.rows} rows sealed, {len(report.refused)} refused."
            + (" From now on, each row needs a valid seal." if is_finished else ""),
            highlight=False,
        )
        if report.refused:
            raise SystemExit(1)
