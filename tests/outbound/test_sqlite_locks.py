import subprocess
import sys
from pathlib import Path

from interface.outbound.sqlite_store import SqliteStore
from tests.support.service import service_over

READS = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM tickets').fetchone()[0])"


def test_a_second_store_in_a_process_does_not_drop_the_lock_of_the_first(tmp_path: Path) -> None:
    """Without its lock, the log of the first is removed by the next process that closes the database."""
    path = tmp_path / "tickets.db"
    first = SqliteStore(path)
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
