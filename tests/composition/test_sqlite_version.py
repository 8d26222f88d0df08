"""A version of SQLite that can damage a shared database is named where several processes share it."""

import logging
import sqlite3
from pathlib import Path

import pytest

from interface.cli.operations.commands import Health
from interface.composition.sqlite_version import check_sqlite, is_affected, warn_of_sqlite
from interface.settings import Settings
from tests.support.command import Command
from tests.support.server import serving

SQLITE = Settings(database_url="sqlite:///var/tickets.db")
POSTGRES = Settings(database_url="postgresql://x/x")


@pytest.fixture
def affected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.40.1")


@pytest.mark.parametrize(
    ("version", "has_the_fault"),
    [
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 46, 1), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 0), False),
        ((4, 0, 0), False),
    ],
)
def test_the_versions_with_the_fault(version: tuple[int, int, int], *, has_the_fault: bool) -> None:
    assert is_affected(version) is has_the_fault


@pytest.mark.usefixtures("affected")
@pytest.mark.parametrize("changes", [{"deliver": False}, {"push": False}])
def test_the_doctor_warns_if_separate_processes_deliver_or_push(changes: dict[str, bool]) -> None:
    [finding] = check_sqlite(SQLITE.model_copy(update=changes))

    assert finding.health is Health.WARNING
    assert "SQLite 3.40.1 can, very rarely, damage" in finding.found


@pytest.mark.usefixtures("affected")
def test_the_doctor_names_the_version_for_one_process() -> None:
    [finding] = check_sqlite(SQLITE)

    assert (finding.health, "version 3.40.1" in finding.found) == (Health.GOOD, True)
    assert list(check_sqlite(POSTGRES)) == []


def test_the_doctor_accepts_a_corrected_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    [finding] = check_sqlite(SQLITE.model_copy(update={"push": False}))

    assert finding.health is Health.GOOD


@pytest.mark.usefixtures("affected")
def test_only_an_affected_sqlite_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    warn_of_sqlite(POSTGRES)
    assert caplog.messages == []
    warn_of_sqlite(SQLITE)
    assert [message.partition(" can")[0] for message in caplog.messages] == ["SQLite 3.40.1"]
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    warn_of_sqlite(SQLITE)
    assert len(caplog.messages) == 1


@pytest.mark.skipif(not is_affected(sqlite3.sqlite_version_info), reason="this SQLite is corrected")
def test_processes_that_share_the_file_log_it_at_their_start(tmp_path: Path) -> None:
    url, named = f"sqlite:///{tmp_path}/var/tickets.db", f"SQLite {sqlite3.sqlite_version} can"
    with serving(tmp_path, url) as one:
        assert named not in one.log.read_text()
        for command in ("deliver", "push"):
            running = Command(tmp_path, command, TICKETS_DATABASE_URL=url)
            running.reported(named)
            running.kill()
    with serving(tmp_path, url, "--workers", "2") as several:
        assert named in several.log.read_text()
