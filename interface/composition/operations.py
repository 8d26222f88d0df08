"""The actions of the commands for operators."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import typer

from application.shared.errors import Unavailable
from domain.record.installation import OperatorActed
from interface.cli.operations import commands
from interface.cli.operations.commands import Finding, Health
from interface.composition.doctor.check import check_record_age
from interface.composition.doctor.delivery import check_delivery, check_mail_server
from interface.composition.doctor.directory import check_checkpoints
from interface.composition.doctor.keys import check_certificate_file, check_keys, check_permissions
from interface.composition.doctor.store import check_standby, check_store
from interface.composition.http_app import rate_limits_of
from interface.composition.installation import note
from interface.composition.service import open_at
from interface.composition.sqlite_version import check_sqlite
from interface.lazy import lazy
from interface.outbound.keys.row_sealer import RowSealer
from interface.outbound.sql.sqlite_store import schema_version_at as sqlite_version_at
from interface.settings import InvalidSettings, Settings, read_settings

if TYPE_CHECKING:
    from interface.outbound.sql import postgres_store
else:
    postgres_store = lazy("interface.outbound.sql.postgres_store")


def migrate() -> tuple[int, int]:
    """Migrate the schema. Returns the version before and after. Raises InvalidSettings."""
    settings = read_settings()
    path = settings.sqlite_path
    try:
        before = sqlite_version_at(path) if path else postgres_store.schema_version_at(settings.database_url)
        # A key must not be created here: a new store only gets the mark that its rows are sealed.
        with closing(open_at(settings.database_url, RowSealer(list), migrate=True)) as store:
            after = store.schema_version()
            if before != after:
                figures = {"from": before, "to": after}
                note(store, OperatorActed, "tickets migrate", failed=False, **figures)
            return before, after
    except (OSError, RuntimeError, Unavailable) as error:
        raise InvalidSettings(str(error)) from error


def examine() -> Iterator[Finding]:
    """Yield the findings of every check."""
    try:
        settings = read_settings()
        rate_limits_of(settings)
    except InvalidSettings as error:
        yield Finding("settings", Health.BAD, str(error), "correct the setting; docs/settings.md lists all")
        return
    yield Finding("settings", Health.GOOD, "all can be used")
    checks: dict[str, Callable[[Settings], Iterator[Finding]]] = {
        "store": check_store,
        "SQLite": check_sqlite,
        "standby": check_standby,
        "record": check_record_age,
        "keys": check_keys,
        "permissions": check_permissions,
        "certificate": check_certificate_file,
        "checkpoints": check_checkpoints,
        "delivery": check_delivery,
        "mail server": check_mail_server,
    }
    for name, check in checks.items():
        try:
            yield from check(settings)
        except InvalidSettings as error:
            yield Finding(name, Health.BAD, str(error), "correct the setting")
        except Exception as error:  # noqa: BLE001 - a failing check must not hide the others
            yield Finding(name, Health.BAD, f"{type(error).__name__}: {error}", "report it to the developers")


def add_commands(cli: typer.Typer) -> None:
    """Add the commands."""
    commands.add_commands(cli, commands.OperationActions(migrate=migrate, examine=examine))
