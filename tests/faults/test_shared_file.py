"""Many processes share one SQLite file whose write-ahead log is reset all the time: the file stays intact.

SQLite before 3.51.3 can corrupt a database if one process resets the log while another reads or writes.
"""

import os
import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from domain.shared.subject import Subject
from tests.support.command import Command, tickets
from tests.support.deliveries import all_over, smtp
from tests.support.evidence import open_store
from tests.support.lanes import forms
from tests.support.load import resetting
from tests.support.mail_server import mail_server
from tests.support.receiver import receiving
from tests.support.server import serving, until
from tests.support.stores import states_of

SECONDS = float(os.environ.get("TICKETS_TEST_SOAK_MINUTES", "0.25")) * 60
SMALL_WAL = "tests.support.small_wal"
CLIENT, CALLERS = "client-1", 4


@pytest.mark.timeout(300 + 2 * SECONDS)
@pytest.mark.parametrize("seconds", forms(short=3, full=SECONDS))
def test_a_file_shared_by_every_kind_of_process_stays_intact(
    sqlite_url: str, tmp_path: Path, seconds: float
) -> None:
    with mail_server() as mails, receiving() as receiver, ExitStack() as stack:
        settings = {
            **smtp(mails),
            "TICKETS_DATABASE_URL": sqlite_url,
            "TICKETS_PUSH_PRIVATE_HOSTS": "127.0.0.1",
            "TICKETS_DELIVER": "False",
        }
        server = stack.enter_context(
            serving(tmp_path, sqlite_url, "--workers", "2", module=SMALL_WAL, **settings)
        )
        for user in range(CALLERS):
            path = f"/{CLIENT}/users/user-{user}"
            server.client.put(path, json={"email": f"user-{user}@example.com"}).raise_for_status()
            server.client.post(f"{path}/ticket").raise_for_status()
        hook = {"url": receiver.url("/hook"), "after": 0}
        server.client.put(f"/{CLIENT}/subscriptions/siem", json=hook).raise_for_status()
        for worker in ("deliver", "push"):
            running = Command(tmp_path, worker, output=worker, module=SMALL_WAL, **settings)
            stack.callback(running.kill)
        with resetting(server, [f"/{CLIENT}/users/user-{user}" for user in range(CALLERS)]) as answered:
            end, backups = time.monotonic() + seconds, 0
            while time.monotonic() < end:
                backup = tickets(tmp_path, "backup", "backup.db", "--force", **settings)
                assert backup.returncode == 0, backup.stderr
                assert integrity(tmp_path / "backup.db") == ["ok"]
                backups += 1
        all_over(sqlite_url, 120)
        size = len(server.client.get(f"/{CLIENT}/events?after=0&limit=1000").json())
        until(lambda: len(set(receiver.positions("/hook"))) >= size, "the events are pushed")

    checked = tickets(tmp_path, "replay", "--check", **settings)
    print(f"{sum(answered)} resets, {backups} backups, {len(mails.taken)} mails: {checked.stdout}")  # noqa: T201
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert integrity(tmp_path / "var" / "tickets.db") == ["ok"]
    with closing(open_store(sqlite_url)) as store:
        rows = states_of(store, [Subject(CLIENT, f"user-{user}") for user in range(CALLERS)])
    assert {subject.user_ext_id: row.reset_count for subject, row in rows.items()} == {
        f"user-{user}": count for user, count in enumerate(answered)
    }
    assert min(answered) > 0


def integrity(path: Path) -> list[str]:
    """Return the findings of SQLite about a file."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return [text for (text,) in connection.execute("PRAGMA integrity_check")]
