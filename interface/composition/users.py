"""The actions of the commands for users."""

import logging
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial

import typer

from application.transaction.command import Answer, Command
from application.users.import_users import ImportReport, import_users
from application.users.record_users import RecordReport, record_users
from application.users.records import USERS
from domain.record.installation import INSTALLATION, OperatorActed
from interface.cli.users import commands
from interface.composition.installation import note, operator
from interface.composition.service import RunningService, in_background
from interface.settings import InvalidSettings, read_settings
from interface.trace_context import new_traceparent

log = logging.getLogger(__name__)


class UserRecording:
    """Records the users of release 1.0, until a run has found nothing in the life of a process."""

    def __init__(
        self,
        running: RunningService,
        submit: Callable[[Command], Future[Answer]],
        stopped: Callable[[], bool],
    ) -> None:
        self._running, self._submit, self._stopped = running, submit, stopped
        self._is_done = False

    def run(self) -> None:
        """Record the users without events, unless another process is doing so. Raises Unavailable."""
        # Without rows of release 1.0, a run would read every row in vain.
        if self._is_done or self._running.store.is_complete(USERS.name):
            return
        report = record(self._running, self._submit, stopped=self._stopped)
        if report is None or self._stopped():
            return
        self._is_done = not any(report)
        if report.left:
            log.warning(
                "%d users have events, but their rows have no commitment: see `tickets replay --check`, and"
                " `tickets users record` if a process of release 1.0 changed them",
                report.left,
            )


def record(
    running: RunningService,
    submit: Callable[[Command], Future[Answer]],
    *,
    operator: str | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> RecordReport | None:
    """Record the users that no event commits to; None if another process does so. Raises Unavailable."""
    return record_users(
        store=running.store,
        users=running.store,
        submit=submit,
        new_command_id=lambda: secrets.token_hex(16),
        correlation_id=new_traceparent(),
        operator=operator,
        stopped=stopped,
    )


def record_now() -> int | None:
    """Record the users now. Raises Unavailable, InvalidSettings."""
    with in_background(read_settings()) as (running, background):
        report = record(running, background.submit, operator=operator())
        if report is None:
            return None
        note(running.store, OperatorActed, "tickets users record", failed=False, users=report.recorded)
        return report.recorded


def import_from(
    chunks: Iterable[bytes], client_ext_id: str, *, dry_run: bool, ignore_columns: bool, report: ImportReport
) -> None:
    """Register the users of a CSV file. Raises InvalidImportFile, Unavailable, InvalidSettings."""
    if client_ext_id == INSTALLATION.client_ext_id:
        raise InvalidSettings(f"client {client_ext_id!r} is the installation, which has no users")
    importing = partial(
        import_users,
        chunks,
        client_ext_id,
        actor=operator(),
        correlation_id=new_traceparent(),
        new_command_id=lambda: secrets.token_hex(16),
        report=report,
        ignore_columns=ignore_columns,
    )
    if dry_run:
        importing(submit=None)
        return
    with in_background(read_settings()) as (_, background):
        importing(submit=background.submit)


def add_commands(cli: typer.Typer) -> None:
    """Add the commands."""
    commands.add_commands(cli, commands.UserActions(import_users=import_from, record_users=record_now))
