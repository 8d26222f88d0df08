"""The actions of the commands for operators."""

import asyncio
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import jwt
import psycopg
import typer

from application.delivery.deliver_tickets import NotDelivered
from application.shared.errors import Unavailable
from interface.cli.operations import commands
from interface.cli.operations.commands import Finding, Health
from interface.composition.delivery import Delivery, delivery_of, templates
from interface.composition.service import open_at, open_files, outbox_keys
from interface.composition.tls import check_certificate, days_left
from interface.outbound.keys.ledger_keys import ledger_key_files, public_ledger_keys
from interface.outbound.keys.set_keys import SetKeys
from interface.outbound.keys.token_key import TokenKey
from interface.outbound.mail.smtp import SmtpTransport
from interface.outbound.sql.postgres_connections import connection_options
from interface.outbound.sql.postgres_store import schema_version_at
from interface.outbound.sql.schema import check_usable
from interface.outbound.sql.sqlite_store import SqliteStore, stored_schema_at, uri_of
from interface.outbound.sql.sqlite_store import schema_version_at as sqlite_version_at
from interface.outbound.sql.standby_reads import standby_status_at
from interface.settings import InvalidSettings, Settings, read_settings

_SKEW_SECONDS = 2
_ENDS_SOON_DAYS = 14
_SMTP_SECONDS = 10
_JWKS_SECONDS = 5
# Only the times of the newest events are checked, since there may be millions.
_NEWEST_EVENTS = 1000


def migrate() -> tuple[int, int]:
    """Migrate the schema. Returns the version before and after. Raises InvalidSettings."""
    settings = read_settings()
    path = settings.sqlite_path
    try:
        before = sqlite_version_at(path) if path else schema_version_at(settings.database_url)
        with closing(open_at(settings.database_url, migrate=True)) as store:
            return before, store.schema_version()
    except (OSError, RuntimeError, Unavailable) as error:
        raise InvalidSettings(str(error)) from error


def examine() -> Iterator[Finding]:
    """Yield the findings of every check."""
    try:
        settings = read_settings()
    except InvalidSettings as error:
        yield Finding("settings", Health.BAD, str(error), "correct the setting; docs/settings.md lists all")
        return
    yield Finding("settings", Health.GOOD, "all can be used")
    checks: dict[str, Callable[[Settings], Iterator[Finding]]] = {
        "store": _store,
        "standby": _standby,
        "keys": _keys,
        "permissions": _permissions,
        "certificate": _certificate,
        "checkpoints": _checkpoints,
        "delivery": _delivery,
        "mail server": _mail_server,
    }
    for name, check in checks.items():
        try:
            yield from check(settings)
        except InvalidSettings as error:
            yield Finding(name, Health.BAD, str(error), "correct the setting")
        except Exception as error:  # noqa: BLE001 - a failing check must not hide the others
            yield Finding(name, Health.BAD, f"{type(error).__name__}: {error}", "report it to the developers")


def _store(settings: Settings) -> Iterator[Finding]:
    path = settings.sqlite_path
    if path and not path.exists():
        yield Finding("store", Health.WARNING, f"{path} does not exist yet", "the first start creates it")
        return
    try:
        if path:
            found = _sqlite(path)
            yield found
            yield _writable("database directory", path.parent)
            if found.health is Health.GOOD:
                yield _clock_beside(_newest_of_sqlite(path)) or Finding(
                    "clock", Health.GOOD, "not behind the newest event"
                )
        else:
            with closing(open_at(settings.database_url)) as store:
                yield Finding("store", Health.GOOD, f"reachable, schema version {store.schema_version()}")
            yield from _clock(settings)
    except RuntimeError as error:
        fault, _, advice = str(error).rpartition(": ")
        yield Finding("store", Health.BAD, fault, advice)
    except (OSError, Unavailable, sqlite3.Error, psycopg.Error) as error:
        yield Finding(
            "store", Health.BAD, str(error), "check TICKETS_DATABASE_URL, and that the database is running"
        )


def _sqlite(path: Path) -> Finding:
    # Not opened like by a server, which would migrate it: a diagnosis must not change anything.
    stored, newest = stored_schema_at(path), SqliteStore.newest_schema
    version = stored.version
    if version >= newest:
        check_usable(stored, newest)
    else:
        return Finding(
            "store",
            Health.WARNING,
            f"schema version {version}, this program has {newest}",
            "the next start migrates it: make a backup first",
        )
    return Finding("store", Health.GOOD, f"readable, schema version {version}")


def _clock(settings: Settings) -> Iterator[Finding]:
    with psycopg.connect(**connection_options(settings.database_url)) as connection:
        began = datetime.now(UTC)
        found = connection.execute("SELECT clock_timestamp()").fetchone()
        ended = datetime.now(UTC)
        newest = _newest_time(
            connection.execute(
                "SELECT convert_from(state, 'UTF8') FROM ticket_events ORDER BY notification_id DESC LIMIT %s",
                (_NEWEST_EVENTS,),
            )
        )
    there = found[0] if found else began
    ahead = max((began - there).total_seconds(), (there - ended).total_seconds(), 0)
    if ahead > _SKEW_SECONDS:
        yield Finding("clock", Health.BAD, f"{ahead:.0f} s from the database's", "synchronise both by NTP")
    else:
        yield _clock_beside(newest) or Finding("clock", Health.GOOD, "as the database's")


def _clock_beside(newest: datetime | None) -> Finding | None:
    """Return a finding if the newest event is in the future."""
    ahead = (newest - datetime.now(UTC)).total_seconds() if newest else 0
    if ahead <= _SKEW_SECONDS:
        return None
    # Either this clock is wrong, or the clock was wrong then: only the first can be corrected, so this is a warning.
    return Finding(
        "clock",
        Health.WARNING,
        f"{ahead:.0f} s before the newest event: it was set back, or was ahead when the event was stored",
        "synchronise it by NTP: the times of events and the expiry of tickets and tokens depend on it",
    )


def _newest_of_sqlite(path: Path) -> datetime | None:
    with closing(sqlite3.connect(f"{uri_of(path)}?mode=ro", uri=True)) as connection:
        statement = "SELECT CAST(state AS TEXT) FROM ticket_events ORDER BY rowid DESC LIMIT ?"
        return _newest_time(connection.execute(statement, (_NEWEST_EVENTS,)))


def _newest_time(states: Iterable[tuple[str]]) -> datetime | None:
    return max((datetime.fromisoformat(json.loads(state)["timestamp"]) for (state,) in states), default=None)


def _standby(settings: Settings) -> Iterator[Finding]:
    if settings.read_database_url is None:
        return
    try:
        standing = standby_status_at(settings.read_database_url, settings.database_url)
    except Unavailable as error:
        advice = "check TICKETS_READ_DATABASE_URL, and that it is running: until then everything is read from the primary"
        yield Finding("standby", Health.BAD, str(error), advice)
        return
    if not standing.has_tables:
        yield Finding(
            "standby", Health.BAD, "has no tables of the service", "check TICKETS_READ_DATABASE_URL"
        )
    elif standing.takes_writes:
        advice = "check TICKETS_READ_DATABASE_URL; several hosts require target_session_attrs=prefer-standby"
        yield Finding("standby", Health.WARNING, "is not a standby: it accepts writes", advice)
    elif standing.behind:
        advice = "look at its replication: until it has caught up, everything is read from the primary"
        yield Finding("standby", Health.WARNING, f"{standing.behind} bytes behind the primary", advice)
    elif standing.behind is None:
        yield Finding(
            "standby", Health.GOOD, "reachable, but not compared with the primary, which is unreachable"
        )
    else:
        yield Finding("standby", Health.GOOD, "reachable, and equal to the primary")


def _keys(settings: Settings) -> Iterator[Finding]:
    """Read each key, but create none: a missing key may be in a backup."""
    given = settings.outbox_key or settings.outbox_key_command
    yield _key(
        "outbox key",
        None if given else settings.outbox_key_file,
        lambda _: f"{len(outbox_keys(settings)())} in the file",
    )
    if settings.jwks_file:
        yield _key("token issuer", settings.jwks_file, _key_set)
    elif settings.jwks_url:
        yield _key_set_at(settings.jwks_url)
    else:
        yield _key("token key", settings.token_key_file, _usable(TokenKey))
    yield _key("security event key", settings.set_key_file, _usable(SetKeys))
    yield _ledger_keys(settings)


def _ledger_keys(settings: Settings) -> Finding:
    directory = settings.ledger_key_dir
    try:
        files = ledger_key_files(directory)
    except OSError as error:
        return Finding("ledger key", Health.BAD, str(error), "give the service read access")
    except ValueError as error:
        found, _, advice = str(error).partition(": ")
        return Finding("ledger key", Health.BAD, found, advice)
    newest = files[-1] if files else directory / "*.pem"
    return _key(
        "ledger key",
        newest,
        lambda _: f"the newest was created {public_ledger_keys(directory, settings.ledger_name)[0][0]}",
    )


def _key_set_at(url: str) -> Finding:
    try:
        found = jwt.PyJWKClient(url, timeout=_JWKS_SECONDS).get_jwk_set()
    except (OSError, ValueError, jwt.PyJWTError) as error:
        advice = "check TICKETS_JWKS_URL, and that this machine can reach its server: no token is accepted without it"
        return Finding("token issuer", Health.BAD, f"its key set cannot be fetched: {error}", advice)
    return Finding("token issuer", Health.GOOD, f"{len(found.keys)} keys")


def _checkpoints(settings: Settings) -> Iterator[Finding]:
    if settings.checkpoint_dir:
        yield _writable("checkpoint directory", settings.checkpoint_dir)


def _key(name: str, path: Path | None, read: Callable[[Path], str]) -> Finding:
    if path and not path.exists():
        return Finding(
            name,
            Health.WARNING,
            f"{path} does not exist",
            "the next start creates it; if it existed before, restore it from your backup first",
        )
    try:
        return Finding(name, Health.GOOD, read(path or Path()))
    except (OSError, ValueError, jwt.PyJWTError) as error:
        found = str(error) if path is None or str(path) in str(error) else f"{path}: {error}"
        return Finding(name, Health.BAD, found, "restore the key from your backup")


def _usable(kind: Callable[[Path], object]) -> Callable[[Path], str]:
    def read(path: Path) -> str:
        kind(path)
        return f"{path} can be used"

    return read


def _key_set(path: Path) -> str:
    return f"{len(jwt.PyJWKSet.from_json(path.read_text()).keys)} keys in {path}"


def _permissions(settings: Settings) -> Iterator[Finding]:
    faults = open_files(settings)
    for fault in faults:
        found, _, advice = fault.partition(": ")
        yield Finding("permissions", Health.BAD, found, advice)
    if not faults:
        yield Finding(
            "permissions", Health.GOOD, "keys, database and trusted files are accessible by the service only"
        )


def _certificate(settings: Settings) -> Iterator[Finding]:
    if settings.tls_cert_file is None:
        return
    try:
        check_certificate(settings)
    except InvalidSettings as error:
        yield Finding("certificate", Health.BAD, str(error), "correct the setting, or the file")
        return
    left = days_left(settings.tls_cert_file)
    advice = "replace it, and restart: it is read at the start only"
    if left < 0:
        yield Finding("certificate", Health.BAD, "has expired", advice)
    elif left < _ENDS_SOON_DAYS:
        yield Finding("certificate", Health.WARNING, f"expires in {left} days", advice)
    else:
        yield Finding("certificate", Health.GOOD, f"expires in {left} days")


def _delivery(settings: Settings) -> Iterator[Finding]:
    if faults := templates(settings).check():
        for fault in faults:
            yield Finding("templates", Health.BAD, fault, "tickets templates check")
    else:
        yield Finding("templates", Health.GOOD, "all can be used")
    yield _writable("letter directory", settings.letter_dir)
    if not settings.smtp_url:
        yield _writable("mail directory", settings.mail_dir)
    _who_delivers(settings)


def _who_delivers(settings: Settings) -> Delivery:
    """Return the couriers without creating directories: the service may run as another user."""
    with tempfile.TemporaryDirectory() as elsewhere:
        made = Path(elsewhere)
        return delivery_of(settings.model_copy(update={"mail_dir": made, "letter_dir": made}))


def _writable(check: str, directory: Path) -> Finding:
    existing = directory
    while not existing.exists():
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        user = f"uid {os.geteuid()}"
        return Finding(
            check,
            Health.BAD,
            f"{directory}: {error.strerror}",
            f"give the service ({user}) write access",
        )
    return Finding(check, Health.GOOD, f"{directory} can be written")


def _mail_server(settings: Settings) -> Iterator[Finding]:
    if settings.smtp_url is None:
        yield Finding(
            "mail server",
            Health.WARNING,
            f"none: mails are files in {settings.mail_dir}",
            "set TICKETS_SMTP_URL, unless another program collects the files",
        )
        return
    short = settings.model_copy(
        update={"smtp_timeout_seconds": min(settings.smtp_timeout_seconds, _SMTP_SECONDS)}
    )
    try:
        [transport] = [part for part in _who_delivers(short).closing if isinstance(part, SmtpTransport)]
    except InvalidSettings:
        return  # the check of the delivery settings reports it
    try:
        asyncio.run(transport.check())
    except NotDelivered as error:
        yield Finding(
            "mail server", Health.BAD, str(error), "check TICKETS_SMTP_URL and TICKETS_SMTP_CA_FILE"
        )
    else:
        yield Finding("mail server", Health.GOOD, "accepts the login")


def add_commands(cli: typer.Typer) -> None:
    """Add the commands."""
    commands.add_commands(cli, commands.OperationActions(migrate=migrate, examine=examine))
