"""A backup is a consistent snapshot of the database, despite concurrent writes."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from interface.outbound.sql import sqlite_backup
from interface.outbound.sql.sqlite_backup import BackupRefused, write_backup
from tests.bench.seed import seed
from tests.support.ledgers import opened, size


def test_concurrent_commits_neither_delay_a_backup_nor_enter_it(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_backup, "_PAGES_PER_STEP", 8)
    file = tmp_path / "b.db"
    copied: list[tuple[str, int, int]] = []
    with opened(sqlite_url) as store:
        seed(store, range(100), length=3)

        def write_meanwhile(what: str, done: int, of: int) -> None:
            seed(store, [1000 + len(copied)])
            copied.append((what, done, of))

        database = Path(sqlite_url.removeprefix("sqlite:///"))
        assert write_backup(database, file, write_meanwhile, replace=False) == file.stat().st_size

    assert len(copied) > 10
    steps = [done for step, done, _ in copied if step == "copying"]
    assert steps == sorted(set(steps))  # it never restarted
    assert size(f"sqlite:///{file}") == 300
    assert size(sqlite_url) == 300 + len(copied)


def test_two_backups_do_not_write_the_same_file_and_a_refused_one_leaves_nothing(
    sqlite_url: str, tmp_path: Path
) -> None:
    database, file = Path(sqlite_url.removeprefix("sqlite:///")), tmp_path / "b.db"
    assert size(sqlite_url) == 0

    def write_again(*_: object) -> None:
        write_backup(database, file, lambda *_: None, replace=False)

    with pytest.raises(BackupRefused, match="another process is writing"):
        write_backup(database, file, write_again, replace=False)

    assert [found.name for found in tmp_path.iterdir()] == ["var"]


def test_a_foreign_or_damaged_database_is_not_backed_up(tmp_path: Path) -> None:
    foreign, file = tmp_path / "foreign.db", tmp_path / "b.db"
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE mine (id)")

    with pytest.raises(BackupRefused, match=r"foreign\.db is not a database of this service"):
        write_backup(foreign, file, lambda *_: None, replace=False)

    assert not file.exists()
