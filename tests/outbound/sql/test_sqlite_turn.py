"""The turn of a writer among the processes that share a SQLite file."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from application.shared.errors import StoreUnavailable
from application.transaction.records import Changes
from interface.outbound.sql import sqlite_connections
from interface.outbound.sql.sqlite_lock import exclusive, share
from interface.outbound.sql.sqlite_store import SqliteStore
from interface.outbound.sql.sqlite_turn import WriterTurn
from tests.support.server import PATIENCE_SECONDS

_SPAWN = multiprocessing.get_context("spawn")


@contextmanager
def turn_of(path: Path) -> Iterator[WriterTurn]:
    descriptor = share(path)
    try:
        yield WriterTurn(descriptor)
    finally:
        os.close(descriptor)


def take_and_hang(path: Path, taken: Event) -> None:
    with turn_of(path) as turn, turn.taken(PATIENCE_SECONDS):
        taken.set()
        time.sleep(PATIENCE_SECONDS)


def test_the_turn_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path, taken = tmp_path / "tickets.db", _SPAWN.Event()
    holder = _SPAWN.Process(target=take_and_hang, args=(path, taken))
    holder.start()
    try:
        assert taken.wait(PATIENCE_SECONDS)
        with turn_of(path) as turn:
            with pytest.raises(TimeoutError), turn.taken(0.01):
                pass
            assert holder.pid is not None
            os.kill(holder.pid, signal.SIGKILL)
            with turn.taken(PATIENCE_SECONDS):
                pass
    finally:
        holder.kill()
        holder.join()


def test_a_writer_that_waits_too_long_for_its_turn_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tickets.db"
    with closing(SqliteStore(path)) as store, turn_of(path) as turn:
        monkeypatch.setattr(sqlite_connections, "LOCK_TIMEOUT_SECONDS", 0.01)
        with turn.taken(1), pytest.raises(StoreUnavailable, match="the writer of another process"):
            store.commit(Changes())
        store.commit(Changes())


def test_a_store_closes_while_another_process_has_the_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tickets.db"
    store = SqliteStore(path)
    store.commit(Changes())
    monkeypatch.setattr(sqlite_connections, "LOCK_TIMEOUT_SECONDS", 0.01)
    with turn_of(path) as turn, turn.taken(1):
        store.close()

    with exclusive(path) as is_unused:
        assert is_unused


def test_writers_take_turns(tmp_path: Path) -> None:
    path, order, over = tmp_path / "tickets.db", list[int](), threading.Event()

    def write(number: int) -> None:
        with turn_of(path) as turn:
            while not over.is_set():
                with turn.taken(PATIENCE_SECONDS):
                    order.append(number)
                    time.sleep(0.002)
                if len(set(order)) == 2 and len(order) > 20:
                    over.set()

    writers = [threading.Thread(target=write, args=[number]) for number in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(PATIENCE_SECONDS)

    assert set(order) == {0, 1}


def test_the_turn_does_not_affect_the_lock_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "tickets.db"
    with turn_of(path) as turn, turn.taken(1), turn_of(path), exclusive(path) as is_unused:
        assert not is_unused
