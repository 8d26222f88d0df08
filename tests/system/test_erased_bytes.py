"""After an erasure, no file of a SQLite store contains the personal data of the user."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.support.server import NO_DELIVERY, Server, serving, until

USER = "/client-123/users/gone"
NAME, LANE, COMMENT = "Zebulon Quackenbush", "Vanished Lane 77", "lost at Blackwater"
PERSON = {"name": NAME, "email": "zebulon@blackwater.example", "postalAddress": [NAME, LANE]}
TRACES = [text.encode() for text in (NAME, LANE, COMMENT, PERSON["email"]) if isinstance(text, str)]


def traces_in(directory: Path) -> set[tuple[str, bytes]]:
    return {
        (path.name, trace)
        for path in directory.glob("tickets.db*")
        for content in [path.read_bytes()]
        for trace in TRACES
        if trace in content
    }


def given_users(server: Server) -> None:
    for user in ("before", "gone", "later"):
        person = PERSON if user == "gone" else {"name": user, "email": f"{user}@example.com"}
        server.client.put(f"/client-123/users/{user}", json=person).raise_for_status()
        ticket = f"/client-123/users/{user}/ticket"
        comment = COMMENT if user == "gone" else "joined"
        server.client.post(ticket, json={"modificationComment": comment}).raise_for_status()
        server.client.post(f"{ticket}/reset").raise_for_status()


@contextmanager
def a_long_read(database: Path) -> Iterator[None]:
    with closing(sqlite3.connect(database, isolation_level=None)) as reading:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM recipients").fetchone()
        yield


def test_an_erased_user_is_in_no_file_of_the_store(tmp_path: Path) -> None:
    with serving(tmp_path, f"sqlite:///{tmp_path}/var/tickets.db", **NO_DELIVERY) as server:
        given_users(server)
        assert {trace for _, trace in traces_in(tmp_path / "var")} == set(TRACES)
        server.client.delete(USER).raise_for_status()

        until(lambda: not traces_in(tmp_path / "var"), "nothing of the user is stored")


def test_the_data_leaves_the_log_after_the_last_read_even_after_a_crash(tmp_path: Path) -> None:
    database = tmp_path / "var" / "tickets.db"
    with serving(tmp_path, f"sqlite:///{database}", **NO_DELIVERY) as server:
        given_users(server)
        reading = a_long_read(database)
        reading.__enter__()
        server.client.delete(USER).raise_for_status()
        server.kill()
    with serving(tmp_path, f"sqlite:///{database}", **NO_DELIVERY):
        assert traces_in(tmp_path / "var")
        reading.__exit__(None, None, None)

        until(lambda: not traces_in(tmp_path / "var"), "nothing of the user is stored")
