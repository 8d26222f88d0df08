"""The ledger of the installation: commands record maintenance in the store, and show it."""

import logging
import os
import pwd
import secrets
from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING

import typer

from application.record.history import LogItem, log_items, log_pages
from application.record.installation import Installation
from application.record.ledger import HistoryQuery
from application.record.replay import Findings
from application.shared.errors import Unavailable
from domain.record.installation import (
    DONE,
    FAILED,
    INSTALLATION,
    PASSED,
    ClockSetBack,
    InstallationEvent,
    OperatorActed,
    RecordChecked,
)
from domain.shared.attribution import Attribution
from interface.cli.core.messages import print_notice
from interface.cli.operations import installation as commands
from interface.composition.service import open_at, open_store, require_store
from interface.outbound.sql.sqlite_store import SqliteStore, schema_version_at
from interface.outbound.system import system_clock
from interface.settings import InvalidSettings, Settings, read_settings
from interface.trace_context import new_traceparent

if TYPE_CHECKING:
    from interface.outbound.sql.postgres_store import PostgresStore

log = logging.getLogger(__name__)
_SUDO = "SUDO_UID"


def operator() -> str:
    """Return the actor of a command line: the operating system's user, which no environment variable changes.

    The claimed caller of sudo is appended: sudo sets the environment variable, but so can the user.
    """
    name, caller = _user_name(os.getuid()), os.environ.get(_SUDO, "")
    return f"os:{name} (sudo: {_user_name(int(caller))})" if caller.isdecimal() else f"os:{name}"


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def attribution(actor: str) -> Attribution:
    """Return the attribution of maintenance at this moment."""
    return Attribution(
        timestamp=system_clock(),
        actor=actor,
        reason=None,
        correlation_id=new_traceparent(),
        command_id=secrets.token_hex(16),
        request_digest="",
    )


def installation_of(store: "SqliteStore | PostgresStore", actor: str | None = None) -> Installation:
    """Return the ledger of an installation. actor: by default the user of the command line."""
    return Installation(store, lambda: attribution(actor or operator()))


def note(
    store: "SqliteStore | PostgresStore",
    kind: type[InstallationEvent],
    operation: str,
    *,
    failed: bool,
    **figures: int | str,
) -> None:
    """Record a command, or print that it could not be recorded: the command itself succeeded."""
    outcome = FAILED if failed else PASSED if kind is RecordChecked else DONE
    try:
        installation_of(store).note(kind, operation=operation, outcome=outcome, figures=figures)
    except Exception as error:  # noqa: BLE001 - in a damaged store, a value can be anything
        _print_not_recorded(error)


def note_clock_set_back(store: "SqliteStore | PostgresStore", seconds: int) -> None:
    """Record that the clock of this server was set back, or log that it could not be recorded."""
    try:
        installation_of(store, "tickets serve").note(ClockSetBack, seconds=seconds)
    except Exception as error:  # noqa: BLE001 - as in `note`; an error would end the stop of the server early
        log.warning("the clock is not recorded in the ledger of the installation: %s", error)


def note_command(settings: Settings, operation: str, **figures: int | str) -> None:
    """Record a command that has not opened the store, or print that it could not be recorded."""
    try:
        with closing(open_current(settings)) as store:
            note(store, OperatorActed, operation, failed=False, **figures)
    except (OSError, RuntimeError, InvalidSettings, Unavailable) as error:
        _print_not_recorded(error)


def open_current(settings: Settings) -> "SqliteStore | PostgresStore":
    """Return the store without migrating it: processes of the former release may use it."""
    require_store(settings)
    path = settings.sqlite_path
    if path and schema_version_at(path) < SqliteStore.newest_schema:
        raise InvalidSettings("the store has the schema of an earlier release")
    return open_at(settings.database_url)


def _print_not_recorded(error: Exception) -> None:
    print_notice(f"not recorded in the ledger of the installation: {error}")


def note_check(store: "SqliteStore | PostgresStore", operation: str, findings: Findings) -> None:
    """Record a check of the record."""
    note(
        store,
        RecordChecked,
        operation,
        failed=bool(findings.faults or findings.lost),
        events=findings.events,
        rows=findings.rows,
        checkpoints=findings.checkpoints,
        faults=len(findings.faults),
        lost=len(findings.lost),
    )


def entries(store: "SqliteStore | PostgresStore") -> Iterable[LogItem]:
    """Return the entries of the ledger of the installation, oldest first."""
    for page in log_pages(HistoryQuery(INSTALLATION.client_ext_id), ledger=store):
        yield from log_items(page, ledger=store)


def show_history() -> list[LogItem]:
    """Return the entries of the ledger of the installation. Raises Unavailable, InvalidSettings."""
    settings = read_settings()
    require_store(settings)
    with closing(open_store(settings)) as store:
        return list(entries(store))


def add_commands(cli: typer.Typer) -> None:
    """Add the commands."""
    commands.add_commands(cli, commands.InstallationActions(history=show_history))
