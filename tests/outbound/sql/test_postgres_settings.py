"""The service uses its own settings of PostgreSQL, and refuses a database or a pooler with which it would lose data."""

import socket
import struct
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from domain.shared.subject import Subject
from interface.cli.operations.commands import Health
from interface.composition.doctor.store import check_store
from interface.composition.operations import migrate
from interface.composition.register import TABLES
from interface.composition.service import start
from interface.outbound.sql.postgres_store import PostgresStore
from interface.settings import InvalidSettings, Settings
from tests.support.fakes import SUBJECT
from tests.support.service import service_over
from tests.support.stores import states_of

# U+0141 is not in LATIN1.
NAME = "Łukasz"
SHOWN = (
    "SELECT current_setting('client_encoding'), current_setting('DateStyle'), current_setting('TimeZone'),"
    " current_setting('standard_conforming_strings'), current_setting('search_path')"
)
PINNED = ("UTF8", "ISO, YMD", "UTC", "on")


@pytest.fixture
def encoding_url(request: pytest.FixtureRequest, postgres_server: str) -> Iterator[str]:
    """The URL of a new database with the encoding of the test's parameter."""
    name = f"tickets_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{request.param}' LOCALE 'C'".encode()
        )
        try:
            yield f"postgresql:///?{postgres_server.partition('?')[2]}&dbname={name}&user=postgres"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def with_setting(url: str, name: str, value: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET {name} = {value}".encode())


def is_stored(store: PostgresStore) -> bool:
    with service_over(store) as service:
        service.register(name=NAME)
        service.create(reason=f"{NAME} \\ 'lost'", retryable=True)
        return service.verify(service.newest())["verified"] is True and bool(states_of(store, [SUBJECT]))


@pytest.mark.parametrize("encoding_url", ["SQL_ASCII", "LATIN1"], indirect=True)
def test_a_database_with_another_encoding_is_refused_by_each_command(
    encoding_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TICKETS_DATABASE_URL", encoding_url)
    settings = Settings(database_url=encoding_url, migrate_at_start=True)

    with pytest.raises(InvalidSettings, match=r"has the encoding (SQL_ASCII|LATIN1).*requires UTF8: copy it"):
        start(settings)
    with pytest.raises(InvalidSettings, match="requires UTF8: copy it with pg_dump"):
        migrate()
    [finding] = check_store(settings)
    assert (finding.health, finding.advice.partition(" with ")[0]) == (Health.BAD, "copy it")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("client_encoding", "'LATIN1'"),
        ("DateStyle", "'German'"),
        ("TimeZone", "'Europe/Zurich'"),
        ("standard_conforming_strings", "off"),
    ],
)
def test_the_settings_of_the_database_have_no_effect(postgres_url: str, name: str, value: str) -> None:
    with_setting(postgres_url, name, value)
    with closing(PostgresStore(postgres_url, TABLES)) as store:
        assert store._fetch(SHOWN, ())[0][:4] == PINNED
        assert is_stored(store)


def test_the_options_of_the_url_have_no_effect_on_them(postgres_url: str) -> None:
    url = f"{postgres_url}&client_encoding=LATIN1&options=-c%20DateStyle%3DGerman"
    with closing(PostgresStore(url, TABLES)) as store:
        assert store._fetch(SHOWN, ())[0][:4] == PINNED


@pytest.mark.parametrize("schema", ["tickets_app", '"with blank""and\\more"'])
def test_the_schema_of_the_search_path_is_used_also_after_a_change_of_the_path(
    postgres_url: str, schema: str
) -> None:
    execute(postgres_url, f"CREATE SCHEMA {schema}")
    with_setting(postgres_url, "search_path", f"{schema}, public")
    with closing(PostgresStore(postgres_url, TABLES)) as store:
        with_setting(postgres_url, "search_path", "public")
        store._datastore.pool.close()
        store._datastore.pool.open()
        assert store._fetch(SHOWN, ())[0][4] == f"{schema}, pg_temp"
        assert is_stored(store)


def test_the_schema_of_the_url_is_used(postgres_url: str) -> None:
    execute(postgres_url, "CREATE SCHEMA tickets_app")
    with closing(PostgresStore(f"{postgres_url}&options=-csearch_path%3Dtickets_app", TABLES)) as store:
        assert store.search_path == "tickets_app, pg_temp"
        assert is_stored(store)


def test_the_tables_are_found_behind_a_schema_that_was_created_later(postgres_url: str) -> None:
    with closing(PostgresStore(postgres_url, TABLES)) as store:
        assert is_stored(store)
    execute(postgres_url, "CREATE SCHEMA postgres")  # the first one of the default path: "$user", public
    with closing(PostgresStore(postgres_url, TABLES)) as store:
        assert store.search_path == "public, pg_temp"
        assert states_of(store, [Subject(*SUBJECT)])


def test_a_search_path_without_a_schema_is_refused(postgres_url: str) -> None:
    with_setting(postgres_url, "search_path", "missing")

    with pytest.raises(RuntimeError, match="no schema of the search_path exists: create it"):
        PostgresStore(postgres_url, TABLES)


def test_a_pooler_that_ignores_the_settings_is_refused(postgres_url: str) -> None:
    """As PgBouncer with ignore_startup_parameters=options; with transaction pooling, it would also mix statements."""
    with pooler(postgres_url) as url:
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(
            RuntimeError, match="a pooler such as PgBouncer ignores `options`: name the address"
        ):
            PostgresStore(url, TABLES)


@contextmanager
def pooler(url: str) -> Iterator[str]:
    """Yield the URL of a proxy that removes `options` from the start of a connection."""
    named = conninfo_to_dict(url)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_accept, args=(listening, _socket_of(named)), daemon=True).start()
        others = {name: value for name, value in named.items() if name not in ("host", "port")}
        port = listening.getsockname()[1]
        yield make_conninfo(
            "", **others, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable"
        )


def _socket_of(named: Mapping[str, object]) -> str | tuple[str, int]:
    host, port = str(named["host"]), int(str(named.get("port") or 5432))
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)


def _accept(listening: socket.socket, server: str | tuple[str, int]) -> None:
    with suppress(OSError):
        while True:
            client, _ = listening.accept()
            threading.Thread(target=_serve, args=(client, server), daemon=True).start()


def _serve(client: socket.socket, server: str | tuple[str, int]) -> None:
    behind = socket.socket(socket.AF_UNIX if isinstance(server, str) else socket.AF_INET)
    with client, behind, suppress(OSError):
        behind.connect(server)
        [length] = struct.unpack("!i", client.recv(4, socket.MSG_WAITALL))
        start = client.recv(length - 4, socket.MSG_WAITALL)
        version, *parts = start[:4], *start[4:].rstrip(b"\0").split(b"\0")
        pairs = zip(parts[::2], parts[1::2], strict=True)
        kept = b"".join(b"%s\0%s\0" % pair for pair in pairs if pair[0] != b"options")
        behind.sendall(struct.pack("!i", 4 + 4 + len(kept) + 1) + version + kept + b"\0")
        threading.Thread(target=_copy, args=(behind, client), daemon=True).start()
        _copy(client, behind)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(65_536):
            target.sendall(content)
        target.shutdown(socket.SHUT_WR)
