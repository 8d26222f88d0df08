"""The command that resets the tickets of many users."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from application.bulk.dry_run import DryRun
from application.bulk.job_response import BulkJobResponse
from application.bulk.user_rows import Format
from domain.bulk.bulk_job import JobStatus
from interface.cli.core.ids import checked_client
from interface.cli.core.messages import counting, fail, print_line, print_report

_CHUNK_BYTES = 64 * 1024
_FORMATS = {".csv": Format.CSV, ".ndjson": Format.NDJSON, ".jsonl": Format.NDJSON}
# The exit status of a shell after an interrupt.
_INTERRUPTED = 130


@dataclass(frozen=True)
class Reset:
    """The options of a reset. again: start another job, even if the file has one."""

    client_ext_id: str
    form: Format
    comment: str | None
    pace: int | None
    expected_count: int | None
    again: bool


@dataclass(frozen=True)
class BulkActions:
    """The actions of the command; interface/composition creates it."""

    reset: Callable[[Reset, Iterable[bytes], Callable[[int, int], None]], BulkJobResponse]
    try_reset: Callable[[Reset, Iterable[bytes]], DryRun]


def add_commands(cli: typer.Typer, actions: BulkActions) -> None:
    """Add the command."""

    @cli.command()
    def reset(
        file: Annotated[
            Path,
            typer.Option(help="CSV with a column userExtId, or NDJSON (.ndjson, .jsonl).", dir_okay=False),
        ],
        client: Annotated[str, typer.Option(help="Client of the users.", callback=checked_client)],
        comment: Annotated[str | None, typer.Option(help="The comment of each reset.")] = None,
        pace: Annotated[
            int | None, typer.Option(min=1, max=10_000, help="Resets per second at most.")
        ] = None,
        expected_count: Annotated[
            int | None, typer.Option(min=0, help="Do nothing if the file has another number of users.")
        ] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Report the refusals, and change nothing.")
        ] = False,
        again: Annotated[
            bool, typer.Option("--again", help="Start another job, even if the users of the file have one.")
        ] = False,
    ) -> None:
        """Reset the ticket of each user in a file, once, and follow the job.

        Ctrl-C pauses the job. The same command continues it: a file has one job per client and operator, also after it is
        finished, unless --again is given. Exits with status 1 if users were refused.
        """
        form = _FORMATS.get(file.suffix.lower())
        if form is None:
            fail(f"{file} must end with one of {', '.join(_FORMATS)}")
        wanted = Reset(client, form, comment, pace, expected_count, again)
        try:
            with file.open("rb") as content:
                chunks = iter(lambda: content.read(_CHUNK_BYTES), b"")
                if dry_run:
                    _print_refusals(actions.try_reset(wanted, chunks))
                    return
                with counting("resetting") as report:
                    job = actions.reset(wanted, chunks, report)
        except OSError as error:
            fail(f"{file} cannot be read: {error}")
        _print_job(job)


def _print_job(job: BulkJobResponse) -> None:
    for reason, count in job.refusals.items():
        print_report(f"{reason}: {count} users")
    text = f"Job {job.job} is {job.status}: {job.reset} reset, {job.refused} refused, {job.pending} pending."
    Console().print(text, highlight=False)
    if job.status is JobStatus.PAUSED:
        raise SystemExit(_INTERRUPTED)
    if job.refused:
        raise SystemExit(1)


def _print_refusals(found: DryRun) -> None:
    for item in found.items:
        print_line(f"{item.number},{item.userExtId},{item.reason}")
    for reason, count in found.refusals.items():
        print_report(f"{reason}: {count} users")
    text = f"Checked, nothing changed: {found.count} users, {found.refused} would be refused."
    Console().print(text, highlight=False)
