"""Runs the command line `tickets`."""

import resource

import typer

from application.record.ledger import LedgerBroken
from application.shared.errors import RowRefused, Unavailable
from application.users.import_users import InvalidImportFile
from domain.shared.errors import Refusal
from interface.cli.core.commands import build_cli
from interface.cli.core.messages import fail
from interface.composition import (
    backup,
    bulk,
    delivery,
    feed,
    installation,
    keys,
    operations,
    record,
    server,
    subscriptions,
    tickets,
    users,
)
from interface.outbound.files.cursor_file import CursorRefused
from interface.outbound.sql.sqlite_backup import BackupRefused
from interface.settings import InvalidSettings

# In this order the help lists their commands.
ROOMS = (
    server,
    tickets,
    bulk,
    users,
    record,
    keys,
    feed,
    subscriptions,
    delivery,
    backup,
    operations,
    installation,
)


def command_line() -> typer.Typer:
    """Return the command line over the service."""
    cli = build_cli()
    for room in ROOMS:
        room.add_commands(cli)
    return cli


def main() -> None:
    """Run the command line."""
    # A core dump would contain keys and tickets. Child processes inherit the limit.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        command_line()()
    except (
        InvalidSettings,
        InvalidImportFile,
        Unavailable,
        Refusal,
        LedgerBroken,
        RowRefused,
        CursorRefused,
        BackupRefused,
    ) as error:
        fail(str(error))


if __name__ == "__main__":
    main()
