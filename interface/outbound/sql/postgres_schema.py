"""The schema of a PostgreSQL store: its version and its migration."""

from collections.abc import Iterable
from typing import Any, cast

import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable, UndefinedTable
from psycopg.rows import tuple_row

from application.shared.errors import StoreUnavailable
from interface.outbound.sql import schema
from interface.outbound.sql.schema import StoredSchema

_MIGRATION_LOCK = 7_204_901
# Less than the lock timeout of a server, so that its callers wait instead of getting a 503.
_LOCK_TIMEOUT_SECONDS = 3
# The migration that added the column usable_from.
_FIRST_WITH_USABLE_FROM = 8


def stored_schema(connection: psycopg.Connection[Any]) -> StoredSchema:
    """Return the schema of the store behind a connection."""
    try:
        version = _one(connection, "SELECT max(version) FROM schema_version") or 0
    except UndefinedTable:
        connection.rollback()
        version = 0
    if version < _FIRST_WITH_USABLE_FROM:
        return StoredSchema(version, version)
    usable_from = _one(connection, f"SELECT usable_from FROM schema_version WHERE version = {version}")
    return StoredSchema(version, usable_from or version)


def check(connection: psycopg.Connection[Any]) -> None:
    """Raise RuntimeError if this program must not use the store's schema."""
    schema.check_usable(stored_schema(connection), len(schema.POSTGRES))


def migrate(connection: psycopg.Connection[Any], sealed: Iterable[str] = ()) -> None:
    """Migrate the schema. Raises RuntimeError if it is too new, StoreUnavailable if a table is in use.

    sealed: the tables of a new store in which every row must have a seal.
    """
    # Several processes can start concurrently on an empty database: one creates the tables, the others wait.
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
    # A migration that waits for a table blocks all later users of the table.
    connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT_SECONDS}s'")
    try:
        _migrate(connection, sealed)
    except (LockNotAvailable, DeadlockDetected) as error:
        raise StoreUnavailable(
            "another session, such as a backup, locks the tables: run `tickets migrate` again when it has ended"
        ) from error


def _migrate(connection: psycopg.Connection[Any], sealed: Iterable[str]) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version bigint PRIMARY KEY)")
    stored = stored_schema(connection)
    for migration in schema.pending(schema.POSTGRES, schema.RELEASED_POSTGRES, stored):
        for statement in migration.statements:
            connection.execute(cast("Any", statement))
        connection.execute("INSERT INTO schema_version (version) VALUES (%s)", (migration.version,))
        if migration.version >= _FIRST_WITH_USABLE_FROM:
            connection.execute(
                "UPDATE schema_version SET usable_from = %s WHERE version = %s",
                (migration.usable_from, migration.version),
            )
    for name in sealed if not stored.version else ():
        connection.execute("INSERT INTO row_seals (name) VALUES (%s)", (name,))


def _one(connection: psycopg.Connection[Any], statement: str) -> int | None:
    cursor = connection.cursor(row_factory=tuple_row)
    found = cursor.execute(cast("Any", statement), prepare=True).fetchone()
    return found[0] if found else None
