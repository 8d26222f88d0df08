"""The locks of a SQLite database, within a process and between processes."""

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from application.subscriptions.records import Progress
from domain.subscriptions.subscription import SubscriptionKey
from interface.composition.register import TABLES
from interface.outbound.sql import sqlite_connections
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.fakes import SUBJECT
from tests.support.server import PATIENCE_SECONDS, until
from tests.support.service import service_over
from tests.support.stores import states_of

READS = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM tickets').fetchone()[0])"


def test_a_second_store_in_a_process_does_not_drop_the_lock_of_the_first(tmp_path: Path) -> None:
    """Without its lock, the next process that closes the database would remove the log of the first."""
    path = tmp_path / "tickets.db"
    first = SqliteStore(path, TABLES)
    with service_over(first) as service:
        service.register()
        SqliteStore(path).close()
        seen_before = tickets_seen_by_another_process(path)
        service.create()
        seen_after = tickets_seen_by_another_process(path)
    first.close()

    assert (seen_before, seen_after) == ("0", "1")


def tickets_seen_by_another_process(path: Path) -> str:
    done = subprocess.run([sys.executable, "-c", READS, path], capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Turn:
    """The lock of the writers in a process, which counts its requests."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.asked = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        self.asked += blocking
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        self._lock.release()


def test_a_reader_does_not_wait_for_waiting_writers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop reads and would block with them."""
    monkeypatch.setattr(sqlite_connections, "LOCK_TIMEOUT_SECONDS", PATIENCE_SECONDS)
    store = SqliteStore(tmp_path / "tickets.db", TABLES)
    other = sqlite3.connect(tmp_path / "tickets.db", isolation_level=None)
    turn: Any = Turn()
    monkeypatch.setattr(store._connections, "_turn", turn)
    progress = (SubscriptionKey("client-123", "hook"), 1, Progress(acknowledged=0))
    with closing(store), closing(other), ThreadPoolExecutor(2) as pool:
        other.execute("BEGIN IMMEDIATE")
        writers = [pool.submit(store.save_progress, [progress]) for _ in range(2)]
        until(
            lambda: turn.asked == len(writers), "one waits for the database, and the other one for its turn"
        )
        states_of(store, [SUBJECT])
        waiting = not any(writer.done() for writer in writers)
        other.execute("ROLLBACK")
        for writer in writers:
            writer.result(PATIENCE_SECONDS)

    assert waiting
