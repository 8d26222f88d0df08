"""Connections to PostgreSQL: to the primary among several servers, with every wait bounded, and every setting pinned."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, cast

import psycopg
from eventsourcing.postgres import PostgresDatastore
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import Diagnostic
from psycopg.rows import DictRow

from interface.outbound.sql.postgres_schema import stored_schema
from interface.outbound.sql.schema import POSTGRES, SchemaGuard

Connection = psycopg.Connection[DictRow]

# The library's defaults would let a commit hang for five minutes.
CONNECT_TIMEOUT_SECONDS = 3
_LOCK_TIMEOUT_SECONDS = 5
_STATEMENT_TIMEOUT_SECONDS = 10
# Detects a lost machine, which the operating system's defaults do only after hours.
_TCP_TIMEOUTS: dict[str, Any] = {
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
# A role, a database or the environment may set others. The last one marks a connection that has them.
_PINNED = "-c DateStyle=ISO,YMD -c TimeZone=UTC -c standard_conforming_strings=on -c tickets.settings=pinned"
# The pool doubles its delay after each failure, so it would stay unavailable long after an outage. After this time it
# gives up instead, and the next request makes it reconnect immediately.
_POOL_RECONNECT_SECONDS = 1


def connection_options(url: str) -> dict[str, Any]:
    """Return the connection options of the URL, completed by our defaults and settings, which take precedence."""
    named = _named(url)
    options = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        **_TCP_TIMEOUTS,
        **named,
        "client_encoding": "UTF8",
    }
    options["options"] = f"{named.get('options', '')} {_PINNED}".strip()
    if "," in str(options.get("host", "")):
        options.setdefault("target_session_attrs", "read-write")
    return options


def _named(url: str) -> dict[str, Any]:
    """Return the options of the URL. Raises ProgrammingError, which contains nothing of the URL.

    libpq parses a password that is not percent-encoded as part of the host or the port, and its errors contain those.
    """
    try:
        named = {name: value for name, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.Error:
        named = None
    ports, hosts = str((named or {}).get("port", "")), str((named or {}).get("host", ""))
    if named is None or "@" in hosts or not all(port.isdigit() for port in ports.split(",") if port):
        raise psycopg.ProgrammingError(
            "the URL is invalid: percent-encode special characters of user, password and host"
        )
    return named


class Datastore(PostgresDatastore):
    """The library's pool of connections; each use checks the schema (ADR 12)."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._guard = SchemaGuard(len(POSTGRES))

    @contextmanager
    def get_connection(self) -> Iterator[Connection]:
        """Yield a connection. Raises OperationalError if this program must not use the store's schema."""
        with self.unguarded() as connection:
            self.check_schema(connection)
            yield connection

    @property
    def is_schema_check_due(self) -> bool:
        """Whether `check_schema` queries the store now."""
        return self._guard.is_due

    def check_schema(self, connection: Connection) -> None:
        """Raise psycopg.OperationalError if this program must not use the store's schema."""
        try:
            self._guard.check(partial(stored_schema, connection))
        except RuntimeError as error:
            raise psycopg.OperationalError(str(error)) from None

    @property
    def options(self) -> dict[str, Any]:
        """The options of its connections, for psycopg."""
        return cast("dict[str, Any]", self.pool.kwargs)

    def register_type_adapters(self) -> None:
        """Do nothing: the library would connect here, for composite types that the service does not use."""

    def unguarded(self) -> AbstractContextManager[Connection]:
        """Yield a connection without a check of the schema."""
        return super().get_connection()


def open_datastore(
    url: str, search_path: str, patience_seconds: float = CONNECT_TIMEOUT_SECONDS
) -> Datastore:
    """Return the pool of connections; it connects on first use.

    search_path: see `pin_schema`. patience_seconds: the time limit of a caller for getting a connection.
    """
    options = connection_options(url)
    named = {name: str(options.pop(name, "")) for name in ("dbname", "host", "port", "user", "password")}
    datastore = Datastore(
        named["dbname"],
        named["host"],
        named["port"],
        named["user"],
        named["password"],
        connect_timeout=patience_seconds,
        pool_size=1,
        max_overflow=15,
        max_waiting=256,
        lock_timeout=_LOCK_TIMEOUT_SECONDS,
        idle_in_transaction_session_timeout=_STATEMENT_TIMEOUT_SECONDS,
    )
    datastore.pool.reconnect_timeout = _POOL_RECONNECT_SECONDS
    connect = datastore.options
    for name in [name for name, value in named.items() if not value]:
        del connect[name]  # so that libpq's defaults apply (a socket, the user's name, a password file)
    connect.update(options)
    waits = f"-c statement_timeout={_STATEMENT_TIMEOUT_SECONDS}s -c lock_timeout={_LOCK_TIMEOUT_SECONDS}s"
    # Blanks and backslashes are escaped in this option.
    path = re.sub(r"([\\\s])", r"\\\1", search_path)
    connect["options"] = f"{options['options']} {waits} -c search_path={path}"
    return datastore


_STATE = """
SELECT current_setting('server_encoding'), current_setting('tickets.settings', true),
       coalesce((SELECT quote_ident(nspname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
                 WHERE pg_class.oid = to_regclass('schema_version')), quote_ident(current_schema()))
"""


def pin_schema(connection: psycopg.Connection[Any]) -> str:
    """Search the schema of the store only, also after a change of the search path. Returns the search path.

    The schema is that in which the search path of the role, the database or the URL finds the tables, or would create
    them. Raises RuntimeError if the database cannot be used.
    """
    row = connection.execute(_STATE).fetchone()
    encoding, marked, schema = row or ("", None, None)
    if encoding != "UTF8":
        raise RuntimeError(
            f"the database has the encoding {encoding}, and the service requires UTF8: copy it with pg_dump into a database"
            " that was created with ENCODING 'UTF8' TEMPLATE template0"
        )
    if marked is None:
        raise RuntimeError(
            "the settings of the connection have no effect, since a pooler such as PgBouncer ignores `options`: name the"
            " address of PostgreSQL itself in TICKETS_DATABASE_URL"
        )
    if schema is None:
        raise RuntimeError("no schema of the search_path exists: create it, or correct the search_path")
    # Temporary tables are searched first unless the path names their schema.
    path = f"{schema}, pg_temp"
    connection.execute("SELECT set_config('search_path', %s, false)", (path,))
    return path


@contextmanager
def require_synchronous_replication(connection: Connection) -> Iterator[None]:
    """Raise OperationalError if a transaction was committed without the synchronous standby.

    PostgreSQL only warns if the wait for the standby is cancelled, and the commit succeeds. It would be lost with this
    server, so the service must not report success.
    """
    warned_by: list[str | None] = []

    def note(warning: Diagnostic) -> None:
        warned_by.append(warning.source_function)

    connection.add_notice_handler(note)
    try:
        yield
    finally:
        connection.remove_notice_handler(note)
    if "SyncRepWaitForLSN" in warned_by:
        raise psycopg.OperationalError(
            "the commit was not replicated: the wait for the standby was cancelled"
        )
