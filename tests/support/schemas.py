"""Stores with another schema than this program's: of the next release, and of an incompatible one."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, cast

import psycopg

from interface.outbound.sql import schema
from tests.support.evidence import open_store


def set_schema(database_url: str, version: int, usable_from: int) -> None:
    """Set the schema version of a store."""
    with _connected(database_url) as connection:
        connection.execute(f"DELETE FROM schema_version WHERE version >= {version}")
        connection.execute(f"INSERT INTO schema_version VALUES ({version}, {usable_from})")
        if database_url.startswith("sqlite"):
            connection.execute(f"PRAGMA user_version = {version}")


def newest_schema(database_url: str) -> int:
    """Return this program's newest schema."""
    return len(schema.SQLITE if database_url.startswith("sqlite") else schema.POSTGRES)


def make_unusable(database_url: str) -> int:
    """Migrate a store to a schema that this program cannot use; returns the program's newest schema."""
    open_store(database_url).close()
    newest = newest_schema(database_url)
    set_schema(database_url, newest + 2, newest + 1)
    return newest


def migrate_to_next_release(database_url: str) -> int:
    """Migrate a store as the next release could: an additional column per table, and a table. Returns its schema."""
    open_store(database_url).close()
    newest = newest_schema(database_url)
    with _connected(database_url) as connection:
        for table in _tables(connection, database_url):
            # One transaction each: with locks on several tables it could deadlock with a server.
            connection.execute(f"ALTER TABLE {table} ADD COLUMN of_next_release text NOT NULL DEFAULT ''")
            connection.commit()
        connection.execute("CREATE TABLE of_next_release (client_ext_id text PRIMARY KEY)")
    with _connected(database_url) as connection:
        connection.execute(
            f"INSERT INTO schema_version (version, usable_from) VALUES ({newest + 1}, {newest})"
        )
        if database_url.startswith("sqlite"):
            connection.execute(f"PRAGMA user_version = {newest + 1}")
    return newest + 1


def _tables(connection: Any, database_url: str) -> list[str]:
    if database_url.startswith("sqlite"):
        found = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
    else:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    return [name for (name,) in found]


@contextmanager
def _connected(database_url: str) -> Iterator[Any]:
    """Yield a connection that commits at the end."""
    path = database_url.removeprefix("sqlite:///")
    if path == database_url:
        with psycopg.connect(database_url) as connection:
            yield cast("Any", connection)
    else:
        with closing(sqlite3.connect(path)) as database:
            yield database
            database.commit()
