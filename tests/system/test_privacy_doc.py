"""The commands of docs/privacy.md are run, and nothing of an erased user is left in the files."""

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg

from interface.composition.register import TABLES
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.own_postgres import own_postgres
from tests.support.server import ROOT
from tests.support.service import AnyStore, service_over

DOC = (ROOT / "docs" / "privacy.md").read_text()
[SHELL] = re.findall(r"^```sh\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)
[SQL] = re.findall(r"^```sql\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)
TRACES = [b"Zebulon Quackenbush", b"zebulon@blackwater.example", b"lost at Blackwater"]


def given_an_erased_user(store: AnyStore) -> None:
    with service_over(store) as service:
        service.register(email=TRACES[1].decode(), name=TRACES[0].decode())
        service.create(reason=TRACES[2].decode(), retryable=True)
        service.erase()


def traces_in(files: list[Path]) -> set[bytes]:
    contents = [path.read_bytes() for path in files if path.is_file()]
    return {trace for trace in TRACES if any(trace in content for content in contents)}


def test_nothing_is_left_in_sqlite_even_of_a_program_that_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "var" / "tickets.db"
    with closing(SqliteStore(path, TABLES)) as store:
        given_an_erased_user(store)
        with closing(sqlite3.connect(path, isolation_level=None)) as careless:
            careless.execute("PRAGMA secure_delete=OFF")
            careless.execute(
                "INSERT INTO recipients (client_ext_id, user_ext_id, version, row) VALUES ('c', 'u', 1, ?)",
                (b" ".join(TRACES),),
            )
            careless.execute("DELETE FROM recipients")
            careless.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        left = traces_in([path])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", SHELL],
            cwd=tmp_path,
            env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )

        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert left == set(TRACES)
        assert traces_in(list(path.parent.glob("tickets.db*"))) == set()


def test_nothing_is_left_in_the_tables_of_postgres() -> None:
    with own_postgres() as own:
        url = own.new_database()
        with closing(PostgresStore(url, TABLES)) as store:
            given_an_erased_user(store)
        with psycopg.connect(own.url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        left = traces_in(list(own.disk.glob("data/base/**/*")))
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in SQL.split(";"):
                if statement.strip():
                    connection.execute(statement.encode())

        assert left == set(TRACES)
        assert traces_in(list(own.disk.glob("data/base/**/*"))) == set()
