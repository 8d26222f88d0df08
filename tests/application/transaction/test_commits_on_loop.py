"""Small commits run on the event loop while they are fast, and no other connection writes."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from application.tickets.regenerate_ticket import RegenerateTicket
from application.transaction.command import Answer
from application.transaction.group_commit import GroupCommit
from application.transaction.records import Changes
from interface.composition.register import TABLES
from interface.outbound.sql import sqlite_connections
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.fakes import SUBJECT
from tests.support.service import Service, command, service_over
from tests.support.stores import history_of

THREAD = "store_0"


class WatchedStore(SqliteStore):
    """Records which threads commit, and whether they would have waited."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, TABLES)
        self.tried: list[bool] = []
        self.threads: list[str] = []
        self.waits = threading.Event()

    def commit(self, changes: Changes) -> None:
        self.threads.append(threading.current_thread().name)
        self.waits.set()
        super().commit(changes)

    def commit_if_free(self, changes: Changes) -> bool:
        self.tried.append(super().commit_if_free(changes))
        if self.tried[-1]:
            self.threads.append(threading.current_thread().name)
        return self.tried[-1]


class Pace:
    """A pace of the test's choice."""

    is_fast = True
    observed = 0

    def observe(self, seconds: float) -> None:  # noqa: ARG002 - a test chooses the pace
        """Count the durations."""
        self.observed += 1


@pytest.fixture
def store(tmp_path: Path) -> Iterator[WatchedStore]:
    with closing(WatchedStore(tmp_path / "tickets.db")) as store:
        yield store


@pytest.fixture
def service(store: WatchedStore) -> Iterator[Service]:
    with service_over(store) as service:
        service.register()
        service.create()
        service.group_commit._pace = Pace()  # type: ignore[assignment]
        store.threads.clear()
        store.tried.clear()
        store.waits.clear()
        yield service


def test_a_lone_command_is_stored_on_the_loop(store: WatchedStore, service: Service) -> None:
    assert service.regenerate().version == 2

    assert store.threads == ["group-commit"]
    assert len(history_of(store, SUBJECT)) == 2


def test_more_commands_than_a_batch_may_have_are_all_stored(store: WatchedStore, service: Service) -> None:
    old = service.group_commit
    commands = GroupCommit(store, old._handlers, old._randomness, max_batch=1)
    commands._pace = Pace()  # type: ignore[assignment]

    async def together() -> list[Answer]:
        answers = await asyncio.gather(*[commands.execute(command(RegenerateTicket)) for _ in range(3)])
        await commands.close()
        return answers

    assert [answer.version for answer in asyncio.run(asyncio.wait_for(together(), 10))] == [2, 3, 4]


def test_slow_commits_run_in_the_thread(store: WatchedStore, service: Service) -> None:
    service.group_commit._pace.is_fast = False  # type: ignore[misc]
    service.regenerate()

    assert store.threads == [THREAD]


def test_the_duration_of_a_checkpoint_is_not_that_of_a_commit(
    store: WatchedStore, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise each checkpoint would keep the next thousand commits in the thread."""
    monkeypatch.setattr(sqlite_connections, "_COMMITS_BETWEEN_CHECKPOINTS", 2)
    service.group_commit._pace = pace = Pace()  # type: ignore[assignment]
    pace.is_fast = False
    store.commit(Changes())  # it begins the count
    store.tried.clear()
    for _ in range(6):
        service.regenerate()

    assert store.tried == [True, True, False] * 2
    assert pace.observed == 4


def test_the_loop_does_not_wait_for_the_lock_of_another_process(
    store: WatchedStore, service: Service, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "tickets.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = service.commands.submit(command(RegenerateTicket))
        assert store.waits.wait(10)
        other.execute("ROLLBACK")
        assert waiting.result(10).version == 2

    assert (store.tried, store.threads) == ([False, False], [THREAD])


def test_the_loop_does_not_wait_for_another_writer_of_the_process(
    store: WatchedStore, service: Service
) -> None:
    with store._connections.writing():
        waiting = service.commands.submit(command(RegenerateTicket))
        assert store.waits.wait(10)

    assert waiting.result(10).version == 2
    assert (store.tried, store.threads) == ([False, False], [THREAD])


def test_a_checkpoint_runs_in_the_thread(
    store: WatchedStore, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_connections, "_COMMITS_BETWEEN_CHECKPOINTS", 2)
    store.commit(Changes())  # it begins the count
    store.threads.clear()
    for _ in range(6):
        service.regenerate()

    assert store.threads == [*["group-commit"] * 2, THREAD] * 2
