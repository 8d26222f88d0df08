"""The schema of a SQLite store: its version and its migration."""

import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from uuid import UUID

from application.record.ledger import leaf_of
from application.record.streams import column_date
from interface.outbound.sql import schema
from interface.outbound.sql.schema import StoredSchema

# The migration that added the table schema_version. The version itself is in `PRAGMA user_version`.
_FIRST_WITH_USABLE_FROM = 6
_WAL_RETRY_SECONDS = 0.01


def stored_schema(connection: sqlite3.Connection) -> StoredSchema:
    """Return the schema of the store behind a connection."""
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if version < _FIRST_WITH_USABLE_FROM:
        return StoredSchema(version, version)
    found = connection.execute(
        "SELECT usable_from FROM schema_version WHERE version = ?", (version,)
    ).fetchone()
    return StoredSchema(version, found[0] if found else version)


def migrate(connection: sqlite3.Connection, sealed: Iterable[str] = ()) -> None:
    """Migrate the schema in one transaction. Raises RuntimeError if it is too new.

    sealed: the tables of a new store in which every row must have a seal.

    The connection is in autocommit mode (isolation_level None).
    """
    # For the migration that creates the ledger.
    connection.create_function("leaf", 6, _leaf, deterministic=True)
    connection.create_function("column_date", 1, _column_date, deterministic=True)
    connection.execute("BEGIN IMMEDIATE")
    try:
        stored = stored_schema(connection)
        for migration in schema.pending(schema.SQLITE, schema.RELEASED_SQLITE, stored):
            for statement in migration.statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {migration.version}")
            if migration.version >= _FIRST_WITH_USABLE_FROM:
                connection.execute(
                    "INSERT INTO schema_version (version, usable_from) VALUES (?, ?)",
                    (migration.version, migration.usable_from),
                )
        if not stored.version:
            connection.executemany("INSERT INTO row_seals (name) VALUES (?)", [(name,) for name in sealed])
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def prepare(path: Path, timeout_seconds: float, sealed: Iterable[str] = ()) -> None:
    """Prepare the database: write-ahead logging and the newest schema. sealed: see `migrate`.

    Raises RuntimeError if its schema is too new, sqlite3.Error.
    """
    connection = sqlite3.connect(path, timeout=timeout_seconds, isolation_level=None)
    with closing(connection):
        _switch_to_wal(connection, time.monotonic() + timeout_seconds)
        migrate(connection, sealed)


def _switch_to_wal(connection: sqlite3.Connection, deadline: float) -> None:
    """Switch the database to write-ahead logging, permanently.

    SQLite ignores the busy timeout here, so concurrent starts must retry.
    """
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_WAL_RETRY_SECONDS)
        else:
            return


def _leaf(client: str, position: int, stream: str, version: int, topic: str, state: bytes) -> bytes:
    return leaf_of(client, position, UUID(stream), version, topic, state)


def _column_date(text: str) -> str:
    return column_date(datetime.fromisoformat(text))
