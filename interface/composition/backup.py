"""The actions of the commands for backups."""

import shlex
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from application.shared.errors import Unavailable
from interface.cli.operations import backup as commands
from interface.composition.installation import installation_of, note_command
from interface.composition.record import check_record
from interface.composition.service import open_at, open_store
from interface.lazy import lazy
from interface.outbound.sql.sqlite_backup import (
    BackupRefused,
    ReportProgress,
    Restored,
    restore_backup,
    write_backup,
)
from interface.outbound.sql.sqlite_lock import exclusive
from interface.outbound.sql.sqlite_store import SqliteStore
from interface.outbound.system import SystemRandomness, system_clock
from interface.settings import InvalidSettings, Settings, read_settings

if TYPE_CHECKING:
    from psycopg import conninfo

    from interface.outbound.sql import postgres_store
    from interface.outbound.sql.postgres_store import PostgresStore
else:
    conninfo = lazy("psycopg.conninfo")
    postgres_store = lazy("interface.outbound.sql.postgres_store")

_ERA_BYTES = 4
_SECRETS = ("password", "sslpassword")


def back_up(file: Path, report: ReportProgress, *, replace: bool) -> int:
    """Write a backup. Returns its size. Raises BackupRefused, InvalidSettings."""
    settings = read_settings()
    if settings.sqlite_path is None:
        dump = f"pg_dump --format=custom --file={shlex.quote(str(file))} --dbname={_database(settings)}"
        raise BackupRefused(f"for PostgreSQL, run pg_dump: {dump}")
    size = write_backup(settings.sqlite_path, file, report, replace=replace)
    note_command(settings, "tickets backup", bytes=size)
    return size


def restore(file: Path, report: ReportProgress, *, replace: bool) -> Restored:
    """Replace the store by a backup. Raises BackupRefused, InvalidSettings."""
    settings = read_settings()
    if settings.sqlite_path is None:
        fill = "pg_restore --exit-on-error --single-transaction --no-owner"
        raise BackupRefused(
            "for PostgreSQL, run pg_restore into an empty database, and then record it:"
            f" {fill} --dbname={_database(settings)} {shlex.quote(str(file))} && tickets restored"
        )
    return restore_backup(file, settings.sqlite_path, _begin_era_at, system_clock(), report, replace=replace)


def _begin_era_at(database: Path) -> str:
    with closing(open_at(f"sqlite:///{database}")) as store:
        return _begin_era(store)


def _begin_era(store: "SqliteStore | PostgresStore") -> str:
    era = SystemRandomness().octets(_ERA_BYTES).hex()
    installation_of(store).begin_era(era)
    return era


def mark_restored() -> str:
    """Record that the store was restored by an external tool. Returns the new era. Raises BackupRefused, InvalidSettings."""
    settings = read_settings()
    try:
        _check_not_in_use(settings)
        store = open_store(settings)
    except (OSError, Unavailable) as error:
        raise InvalidSettings(str(error)) from error
    with closing(store):
        return _begin_era(store)


def _check_not_in_use(settings: Settings) -> None:
    """Raise BackupRefused if another process could write without the new era."""
    if settings.sqlite_path is None:
        if others := postgres_store.others_at(settings.database_url):
            raise BackupRefused(
                "the database is in use: stop every process of the service first"
                f" (pg_stat_activity has {', '.join(map(str, others))} of the same user)"
            )
        return
    if not settings.sqlite_path.exists():
        raise BackupRefused(f"there is no database {settings.sqlite_path}")
    with exclusive(settings.sqlite_path) as is_unused:
        if not is_unused:
            raise BackupRefused(f"{settings.sqlite_path} is in use: stop every process of the service first")


def _database(settings: Settings) -> str:
    """Return the database as a quoted argument of PostgreSQL's tools, without a password, which the process list would show."""
    named = {
        name: value
        for name, value in conninfo.conninfo_to_dict(settings.database_url).items()
        if name not in _SECRETS
    }
    return shlex.quote(conninfo.make_conninfo("", **named))


def add_commands(cli: typer.Typer) -> None:
    """Add the commands."""
    actions = commands.BackupActions(
        back_up=back_up,
        restore=restore,
        mark_restored=mark_restored,
        check=lambda report: check_record([], report, operation="tickets restore"),
    )
    commands.add_commands(cli, actions)
