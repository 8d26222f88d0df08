"""SQLite's log is emptied after erasures, by few and ever rarer tries."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from domain.shared.subject import Subject
from interface.composition.log_cutting import LogCutting
from interface.composition.register import TABLES
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.service import Service, service_over


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "tickets.db"


@pytest.fixture
def store(database: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(database, TABLES)) as store:
        yield store


@pytest.fixture
def service(store: SqliteStore) -> Iterator[Service]:
    with service_over(store) as service:
        yield service


class Pauses(list[float]):
    """A clock that records the pauses, and does not wait."""

    def __call__(self, seconds: float) -> bool:
        self.append(seconds)
        return False


def log_size(database: Path) -> int:
    return database.with_name("tickets.db-wal").stat().st_size


def given_users(service: Service, count: int) -> list[Subject]:
    subjects = [Subject("client-123", f"user-{number}") for number in range(count)]
    for subject in subjects:
        service.register(subject=subject)
    return subjects


def test_the_log_is_emptied_at_the_start_and_then_only_after_an_erasure(
    database: Path, store: SqliteStore, service: Service
) -> None:
    [subject] = given_users(service, 1)
    cutting = LogCutting(store, Pauses())

    cutting.run()
    assert log_size(database) == 0
    service.create(subject=subject)
    size = log_size(database)
    cutting.run()
    assert log_size(database) == size > 0
    service.erase(subject=subject)
    cutting.run()
    assert log_size(database) == 0


def test_the_log_is_emptied_after_an_erasure_by_another_process(
    database: Path, store: SqliteStore, service: Service
) -> None:
    [subject] = given_users(service, 1)
    cutting = LogCutting(store, Pauses())
    cutting.run()

    with closing(SqliteStore(database, TABLES)) as other, service_over(other) as elsewhere:
        elsewhere.erase(subject=subject)
        assert log_size(database) > 0
        cutting.run()

        assert log_size(database) == 0


def test_many_erasures_empty_the_log_a_few_times(
    store: SqliteStore, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    subjects = given_users(service, 40)
    cuts = list[bool]()
    cut_log = store.cut_log

    def counted() -> bool:
        cuts.append(cut_log())
        return cuts[-1]

    def erase_meanwhile(_: float) -> bool:
        for _subject in subjects[:20]:
            service.erase(subject=subjects.pop())
        return False

    monkeypatch.setattr(store, "cut_log", counted)
    cutting = LogCutting(store, erase_meanwhile)
    for _ in range(5):
        cutting.run()

    assert cuts == [True] * 3


def test_the_tries_during_a_long_read_become_rare(
    database: Path, store: SqliteStore, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    given_users(service, 1)
    with closing(sqlite3.connect(database, isolation_level=None)) as reading:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM recipients").fetchone()
        given_users(service, 2)

        class UntilTheReadEnds(Pauses):
            def __call__(self, seconds: float) -> bool:
                if len(self) == 12:
                    reading.execute("COMMIT")
                return super().__call__(seconds)

        pauses = UntilTheReadEnds()
        LogCutting(store, pauses).run()

    assert pauses[:-1] == [1, 2, 4, 8, 16, 32, *[60] * 7]
    assert caplog.text.count("a long read, such as a backup, keeps it") == 1
    assert log_size(database) == 0


def test_a_failed_try_is_repeated_at_the_next_run(
    database: Path, store: SqliteStore, service: Service
) -> None:
    def failing(seconds: float) -> bool:
        if seconds == 1:
            raise OSError("fault")
        return False

    [subject] = given_users(service, 1)
    cutting = LogCutting(store, failing)
    cutting.run()
    service.erase(subject=subject)
    with closing(sqlite3.connect(database, isolation_level=None)) as reading:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM recipients").fetchone()
        service.register(subject=subject)
        with pytest.raises(OSError, match="fault"):
            cutting.run()
    cutting.run()

    assert log_size(database) == 0
