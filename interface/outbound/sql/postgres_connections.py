"""Connections to PostgreSQL: to whichever of several servers takes writes now, and none that hangs on a dead one."""

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

# Every wait is bounded by seconds; the library's defaults let a save hang for five minutes.
CONNECT_TIMEOUT_SECONDS = 3
_LOCK_TIMEOUT_SECONDS = 5
_STATEMENT_TIMEOUT_SECONDS = 10
# A machine that is gone does not even say that it is: by the system's defaults, an answer is waited for for hours.
_GIVEN_UP_AFTER_TEN_SECONDS: dict[str, Any] = {
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
# The pool waits twice as long after each failure, so after an outage it would be away as long again. After this it
# gives up instead, and who asks next makes it try at once.
_POOL_GIVES_UP_AFTER_SECONDS = 1


def connection_options(url: str) -> dict[str, Any]:
    """Return what to connect with: what the URL says, and what it should where it does not."""
    named = _named(url)
    options = {"connect_timeout": CONNECT_TIMEOUT_SECONDS, **_GIVEN_UP_AFTER_TEN_SECONDS, **named}
    if "," in str(options.get("host", "")):
        options.setdefault("target_session_attrs", "read-write")
    return options


def _named(url: str) -> dict[str, Any]:
    """Return what the URL says. Raises ProgrammingError, which repeats nothing of it.

    A password that is not percent-encoded is read as part of the host or the port, with which libpq's errors begin.
    """
    try:
        named = {name: value for name, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.Error:
        named = None
    ports, hosts = str((named or {}).get("port", "")), str((named or {}).get("host", ""))
    if named is None or "@" in hosts or not all(port.isdigit() for port in ports.split(",") if port):
        raise psycopg.ProgrammingError(
            "its URL cannot be read: percent-encode what is special in user, password and host"
        )
    return named


class Datastore(PostgresDatastore):
    """The library's pool of connections; each use checks the schema (ADR 12)."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._guard = SchemaGuard(len(POSTGRES))

    @contextmanager
    def get_connection(self) -> Iterator[Connection]:
        """Lend a connection. Raises OperationalError where this program must not use the store's schema."""
        with self.unguarded() as connection:
            try:
                self._guard.check(partial(stored_schema, connection))
            except RuntimeError as error:
                raise psycopg.OperationalError(str(error)) from None
            yield connection

    def register_type_adapters(self) -> None:
        """Do nothing. The library would connect here, for composite types that no statement of this service has."""

    def unguarded(self) -> AbstractContextManager[Connection]:
        """Lend a connection, whatever the schema is."""
        return super().get_connection()


def open_datastore(url: str, patience_seconds: float = CONNECT_TIMEOUT_SECONDS) -> Datastore:
    """Return the pool of connections; it connects when it is first used.

    patience_seconds: how long a caller waits for a connection.
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
    datastore.pool.reconnect_timeout = _POOL_GIVES_UP_AFTER_SECONDS
    connect = cast("dict[str, Any]", datastore.pool.kwargs)
    for name in [name for name, value in named.items() if not value]:
        del connect[name]  # libpq's own defaults (a socket, the user's name, a password file) then hold
    connect.update(options)
    waits = f"-c statement_timeout={_STATEMENT_TIMEOUT_SECONDS}s -c lock_timeout={_LOCK_TIMEOUT_SECONDS}s"
    connect["options"] = f"{options.get('options', '')} {waits}".strip()
    return datastore


@contextmanager
def require_synchronous_replication(connection: Connection) -> Iterator[None]:
    """Raise OperationalError where something was committed without the synchronous standby.

    That is no error to PostgreSQL: where somebody cancels the wait for the standby, it warns, and the commit succeeds.
    It would be lost with this server, so nobody may be told that it is stored.
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
            "the commit is on this server only: the wait for its standby was cancelled"
        )
