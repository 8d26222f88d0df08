"""Checks of the store, its clock and its standby."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from application.shared.errors import Unavailable
from interface.cli.operations.commands import Finding, Health
from interface.composition.doctor.directory import writable
from interface.composition.register import TABLES
from interface.composition.service import open_at
from interface.lazy import lazy
from interface.outbound.sql.schema import check_usable
from interface.outbound.sql.sqlite_store import SqliteStore, stored_schema_at, uri_of
from interface.outbound.sql.tables import Tables
from interface.settings import Settings

if TYPE_CHECKING:
    import psycopg

    from interface.outbound.sql import postgres_connections, standby_reads
else:
    psycopg = lazy("psycopg")
    postgres_connections = lazy("interface.outbound.sql.postgres_connections")
    standby_reads = lazy("interface.outbound.sql.standby_reads")

_SKEW_SECONDS = 2
# Only the times of the newest events are checked, since there may be millions.
_NEWEST_EVENTS = 1000


def check_store(settings: Settings) -> Iterator[Finding]:
    """Check the store and the clock."""
    path = settings.sqlite_path
    if path and not path.exists():
        yield Finding("store", Health.WARNING, f"{path} does not exist yet", "the first start creates it")
        return
    try:
        if path:
            found = _sqlite(path)
            yield found
            yield writable("database directory", path.parent)
            if found.health is Health.GOOD:
                yield _clock_beside(_newest_of_sqlite(path)) or Finding(
                    "clock", Health.GOOD, "not behind the newest event"
                )
                yield _row_seals(_complete_of_sqlite(path), settings)
        else:
            with closing(open_at(settings.database_url)) as store:
                yield Finding("store", Health.GOOD, f"reachable, schema version {store.schema_version()}")
                yield _row_seals(
                    {table for table in store.sealed_tables() if store.is_complete(table)}, settings
                )
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


def _complete_of_sqlite(path: Path) -> set[str]:
    with closing(sqlite3.connect(f"{uri_of(path)}?mode=ro", uri=True)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM row_seals")}


def _row_seals(complete: set[str], settings: Settings) -> Finding:
    if settings.row_seals == "required":
        return Finding("row seals", Health.GOOD, "required in every table")
    if missing := sorted(set(Tables(TABLES).sealed()) - complete):
        return Finding(
            "row seals",
            Health.WARNING,
            f"rows without a seal are accepted in {', '.join(missing)} if they are equal to their events",
            "once no process of a release before 1.1 runs: tickets jobs seal --finish",
        )
    return Finding("row seals", Health.GOOD, "every row is sealed")


def _clock(settings: Settings) -> Iterator[Finding]:
    with psycopg.connect(**postgres_connections.connection_options(settings.database_url)) as connection:
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
    times = (datetime.fromisoformat(json.loads(state)["timestamp"]) for (state,) in states)
    try:
        return max((time.astimezone(UTC) for time in times), default=None)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None  # the check of the record reports an event that was changed


def check_standby(settings: Settings) -> Iterator[Finding]:
    """Check the standby."""
    if settings.read_database_url is None:
        return
    try:
        status = standby_reads.standby_status_at(settings.read_database_url, settings.database_url)
    except Unavailable as error:
        advice = "check TICKETS_READ_DATABASE_URL, and that it is running: until then everything is read from the primary"
        yield Finding("standby", Health.BAD, str(error), advice)
        return
    if not status.has_tables:
        yield Finding(
            "standby", Health.BAD, "has no tables of the service", "check TICKETS_READ_DATABASE_URL"
        )
    elif status.takes_writes:
        advice = "check TICKETS_READ_DATABASE_URL; several hosts require target_session_attrs=prefer-standby"
        yield Finding("standby", Health.WARNING, "is not a standby: it accepts writes", advice)
    elif status.behind:
        advice = "look at its replication: until it has caught up, everything is read from the primary"
        yield Finding("standby", Health.WARNING, f"{status.behind} bytes behind the primary", advice)
    elif status.behind is None:
        yield Finding(
            "standby", Health.GOOD, "reachable, but not compared with the primary, which is unreachable"
        )
    else:
        yield Finding("standby", Health.GOOD, "reachable, and equal to the primary")
