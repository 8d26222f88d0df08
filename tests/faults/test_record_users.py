"""kill -9 while the users of release 1.0 are recorded: each has exactly one event in the end (both stores)."""

from pathlib import Path

from application.record.replay import unrecorded_rows
from domain.shared.subject import Subject
from domain.users.user import UserRegistered, user_stream_id
from interface.outbound.sql.codec import encode
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.command import Command, tickets
from tests.support.evidence import open_store
from tests.support.fakes import NOW
from tests.support.server import until

USERS = [Subject("client-123", f"user-{number}") for number in range(3_000)]
_ADD = "INSERT INTO recipients (client_ext_id, user_ext_id, version, row) VALUES (?, ?, ?, ?)"


def as_release_1_0_stored(store: SqliteStore | PostgresStore) -> None:
    rows = []
    for user in USERS:
        row = {
            "client_ext_id": user.client_ext_id,
            "user_ext_id": user.user_ext_id,
            "email": f"{user.user_ext_id}@example.com",
            "created": NOW,
            "last_modified": NOW,
            "version": 1,
        }
        rows.append((*user, 1, encode(row)))
    store._run(_ADD, rows)


def test_a_killed_run_is_completed_by_the_next_one(database_url: str, tmp_path: Path) -> None:
    settings = {"TICKETS_DATABASE_URL": database_url}
    store = open_store(database_url)
    as_release_1_0_stored(store)

    killed = Command(tmp_path, "users", "record", **settings)
    until(lambda: store.size("client-123"), "the first users are recorded")
    killed.kill()
    first = store.size("client-123")
    again = tickets(tmp_path, "users", "record", **settings)

    assert 0 < first < len(USERS)
    assert again.returncode == 0, again.stderr
    assert again.stdout == f"{len(USERS) - first} users recorded.\n"
    assert not unrecorded_rows(store)
    streams = [store.events_of(user_stream_id(*user)) for user in USERS]
    assert [[type(event) for event in events] for events in streams] == [[UserRegistered]] * len(USERS)
    store.close()
