"""The rows of an earlier release are sealed by a server, and by `tickets jobs seal`."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from interface.cli.operations.commands import Finding, Health
from interface.composition.doctor.store import check_store
from interface.composition.row_seals import RowSealing
from interface.composition.service import start
from interface.settings import Settings
from tests.support.command import tickets
from tests.support.evidence import open_store
from tests.support.fakes import SUBJECT
from tests.support.service import service_over


@pytest.fixture
def old_url(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with rows without seals, in the directory of a service."""
    monkeypatch.chdir(tmp_path)
    with closing(open_store(sqlite_url)) as store, service_over(store) as service:
        service.register()
        service.create()
        service.define("long")
    return sqlite_url


def sql(url: str, statement: str) -> list[Any]:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


def reported(url: str, **settings: Any) -> Finding:
    return next(f for f in check_store(Settings(database_url=url, **settings)) if f.check == "row seals")


def seal(url: str, directory: Path, *options: str) -> tuple[int, str, str]:
    done = tickets(directory, "jobs", "seal", *options, TICKETS_DATABASE_URL=url)
    return done.returncode, done.stdout, done.stderr


def test_the_command_seals_rows_and_ends_the_time_without_seals(old_url: str, tmp_path: Path) -> None:
    assert reported(old_url).health is Health.WARNING
    assert "tickets jobs seal --finish" in reported(old_url).advice

    assert seal(old_url, tmp_path) == (0, "3 of 3 rows sealed, 0 refused.\n", "")
    assert reported(old_url).health is Health.WARNING
    ended = "0 of 3 rows sealed, 0 refused. From now on, each row needs a valid seal.\n"
    assert seal(old_url, tmp_path, "--finish") == (0, ended, "")

    assert reported(old_url).health is Health.GOOD
    sql(old_url, "UPDATE policies SET seal = NULL")
    checked = tickets(tmp_path, "replay", "--check", TICKETS_DATABASE_URL=old_url)
    assert checked.returncode == 1
    assert "policy 'long': column seal does not match the row" in checked.stderr
    rebuilt = tickets(tmp_path, "rebuild", TICKETS_DATABASE_URL=old_url)
    assert rebuilt.returncode == 0
    assert tickets(tmp_path, "replay", "--check", TICKETS_DATABASE_URL=old_url).returncode == 0


def test_the_command_reopens_tables_and_records_that(old_url: str, tmp_path: Path) -> None:
    assert seal(old_url, tmp_path, "--finish")[0] == 0
    reopened = "From now on, rows without a valid seal are accepted if they are equal to their events.\n"
    assert seal(old_url, tmp_path, "--reopen") == (0, reopened, "")

    assert reported(old_url).health is Health.WARNING
    assert seal(old_url, tmp_path, "--reopen", "--finish")[0] == 2
    history = tickets(tmp_path, "installation", "history", "--json", TICKETS_DATABASE_URL=old_url)
    assert '"tickets jobs seal --reopen"' in history.stdout.splitlines()[-1]


def test_the_command_names_a_row_that_differs_from_its_events(old_url: str, tmp_path: Path) -> None:
    sql(old_url, "UPDATE tickets SET row = replace(row, '\"version\":1', '\"version\":2')")

    status, out, err = seal(old_url, tmp_path, "--finish")

    assert (status, out) == (1, "2 of 3 rows sealed, 1 refused.\n")
    assert err == f"client 'client-123', user '{SUBJECT.user_ext_id}': the read row differs from its events\n"
    assert reported(old_url).health is Health.WARNING


def test_a_server_seals_the_rows_once(old_url: str) -> None:
    running = start(Settings(database_url=old_url), with_outbox=False)
    sealing = RowSealing(running, lambda: False)

    sealing.run()
    assert sql(old_url, "SELECT count(seal) FROM tickets") == [(1,)]
    sql(old_url, "UPDATE tickets SET seal = NULL")
    sealing.run()

    assert sql(old_url, "SELECT count(seal) FROM tickets") == [(0,)]
    running.close()


def test_required_seals_are_reported(old_url: str) -> None:
    assert reported(old_url, row_seals="required").health is Health.GOOD
