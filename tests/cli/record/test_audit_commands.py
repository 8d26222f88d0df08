"""The audit commands report wrong input and faults of the record."""

import base64
import csv
import hashlib
import io
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from application.tickets.erase_user import EraseUser
from domain.shared.subject import Subject
from domain.tickets.events import stream_id
from interface.outbound.sql.postgres_store import schema_version_at
from tests.support.command import tickets
from tests.support.fakes import SUBJECT
from tests.support.ledgers import given_ticket, opened, reset
from tests.support.schemas import make_unusable
from tests.support.service import command as service_command
from tests.support.service import service_over


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["history", "client-1", "unknown"], "never had a ticket"),
        (
            ["replay", "client-1", "unknown", "--at", "2026-03-03T12:00:00Z"],
            "had no ticket at this time or version",
        ),
        (["replay", "client-1", "unknown", "--at", "3 March"], "2026-03-03T12:00:00Z"),
        (["audit", "export", "client-1", "--from", "yesterday"], "2026-03-03T12:00:00Z"),
        (["replay", "client-1", "unknown", "--at", "0001-01-01T00:00:00+14:00"], "is out of range"),
        (["replay", "client-1", "unknown", "--at", "9999-12-31T23:59:59Z"], "in the future"),
        (
            ["replay", "client-1", "unknown", "--at", "2026-03-03T12:00:00Z", "--at-version", "1"],
            "exclude each",
        ),
        (
            ["audit", "export", "client-1", "--from", "2026-03-03T12:00:00Z", "--to", "2026-03-03T11:00:00Z"],
            "--from must not be after --to",
        ),
        (["checkpoint", "client-2"], "client-2"),
        (["evidence", "export", "client-1", "unknown", "-o", "e.zip"], "never had a ticket"),
        (["evidence", "verify", "missing.zip", "--key", "key.txt"], "missing.zip"),
        (["replay", "--check", "--checkpoint", "missing.checkpoint"], "missing.checkpoint"),
        (["replay", "--check", "--checkpoint", "key.txt"], "key.txt does not contain a checkpoint"),
    ],
)
def test_a_wrong_input_is_refused_with_a_message(
    arguments: list[str], message: str, tmp_path: Path, sqlite_url: str
) -> None:
    given_ticket(sqlite_url, "client-1")
    (tmp_path / "key.txt").write_text("no key\n")

    done = tickets(tmp_path, *arguments)

    assert done.returncode != 0
    assert message in " ".join((done.stdout + done.stderr).replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_a_store_with_a_schema_that_is_too_new_is_not_checked(tmp_path: Path, sqlite_url: str) -> None:
    newest = make_unusable(sqlite_url)

    for command in (["replay", "--check"], ["rebuild"]):
        done = tickets(tmp_path, *command)

        assert done.returncode == 2
        assert f"needs a program with schema {newest + 1} or later" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_new_store_is_complete(tmp_path: Path) -> None:
    assert tickets(tmp_path, "migrate").returncode == 0

    done = tickets(tmp_path, "replay", "--check")

    assert done.returncode == 0, done.stderr


READS = [
    ["history", "ghost-1", "user-0"],
    ["replay", "ghost-1", "user-0"],
    ["audit", "export", "ghost-1"],
    ["checkpoint", "ghost-1"],
    ["evidence", "export", "ghost-1", "user-0", "-o", "evidence.zip"],
]


@pytest.mark.parametrize("arguments", [*READS, ["replay", "--check"], ["rebuild"], ["follow", "ghost-1"]])
def test_a_read_in_the_wrong_directory_makes_nothing(arguments: list[str], tmp_path: Path) -> None:
    done = tickets(tmp_path, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tickets: there is no store in var/tickets.db")
    assert list(tmp_path.iterdir()) == []


def test_a_read_of_an_empty_database_makes_nothing(tmp_path: Path, postgres_url: str) -> None:
    done = tickets(tmp_path, "history", "ghost-1", "user-0", TICKETS_DATABASE_URL=postgres_url)

    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert "there is no store in the database of TICKETS_DATABASE_URL" in done.stderr
    assert schema_version_at(postgres_url) == 0


def test_a_read_of_a_client_that_does_not_exist_makes_nothing(tmp_path: Path, database_url: str) -> None:
    given_ticket(database_url, "client-1")

    for arguments in READS:
        done = tickets(tmp_path, *arguments, TICKETS_DATABASE_URL=database_url)

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("tickets: Client 'ghost-1'")
    with opened(database_url) as store:
        assert store.clients() == ["client-1"]
        assert store.sizes() == [("client-1", 2)]


def test_a_forged_ticket_whose_stream_names_another_user_is_found_and_rebuilt(
    tmp_path: Path, sqlite_url: str
) -> None:
    given_ticket(sqlite_url, "client-1")
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as store:
        store.execute("UPDATE ledger SET user_ext_id = '.' WHERE topic = 'TicketCreated'")
        store.execute("UPDATE tickets SET row = CAST(replace(row, '{SSHA256}', '{SSHA256}x') AS BLOB)")
        store.commit()

    checked = tickets(tmp_path, "replay", "--check", COLUMNS="300")
    rebuilt = tickets(tmp_path, "rebuild", COLUMNS="300")
    again = tickets(tmp_path, "replay", "--check", COLUMNS="300")

    stream = stream_id("client-1", "user-0")
    column = (
        f"differs: client 'client-1', position 2, stream {stream}, version 1: column user_ext_id is '.', not"
        " 'user-0'\n"
    )
    row = "differs: client 'client-1', user 'user-0': the read row differs from the replayed one\n"
    queued = (
        "differs: client 'client-1', queued ticket of user 'user-0', version 1: column user_ext_id is 'user-0',"
        " not '.'\n"
    )
    assert (checked.returncode, checked.stderr) == (1, queued + column + row)
    assert checked.stdout == "2 events, 2 rows, 0 checkpoints: 3 differs\n"
    assert (rebuilt.returncode, rebuilt.stderr) == (1, column)
    assert rebuilt.stdout == "1 rows rebuilt from their events.\n"
    assert (again.returncode, again.stderr) == (1, queued + column)


def test_time_stamps_require_a_directory(tmp_path: Path) -> None:
    done = tickets(tmp_path, "replay", "--check", TICKETS_CHECKPOINT_TSA="http://127.0.0.1/tsa")

    assert done.returncode != 0
    assert "TICKETS_CHECKPOINT_TSA requires TICKETS_CHECKPOINT_DIR" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_older_key_is_still_printed(tmp_path: Path) -> None:
    first = tickets(tmp_path, "keys", "public").stdout
    second = tickets(tmp_path, "keys", "rotate").stdout

    assert tickets(tmp_path, "keys", "public").stdout == second
    shown = tickets(tmp_path, "keys", "public", "--details").stdout.splitlines()
    assert shown[0] == second.strip()
    assert re.fullmatch("  fingerprint( [0-9a-f]{4}){8}", shown[1])
    assert re.fullmatch("  signs from 20[0-9T:-]+Z", shown[2])
    assert tickets(tmp_path, "keys", "public", "--all").stdout.splitlines() == [second.strip(), first.strip()]


def test_the_evidence_is_consistent_with_the_checkpoint_in_a_file(tmp_path: Path, sqlite_url: str) -> None:
    given_ticket(sqlite_url, "client-1")
    given_ticket(sqlite_url, "client-2")
    (tmp_path / "key.txt").write_text(tickets(tmp_path, "keys", "public").stdout)
    for client in ("client-1", "client-2"):
        (tmp_path / f"{client}.checkpoint").write_text(tickets(tmp_path, "checkpoint", client).stdout)
    reset(sqlite_url, "client-1")
    export = ("evidence", "export", "client-1", "user-0", "-o", "e.zip", "--checkpoint")

    done = tickets(tmp_path, *export, "client-1.checkpoint")
    verified = tickets(
        tmp_path, "evidence", "verify", "e.zip", "--key", "key.txt", "--checkpoint", "client-1.checkpoint"
    )
    other = tickets(tmp_path, *export, "client-2.checkpoint")
    both = tickets(tmp_path, *export, "client-1.checkpoint", "--since", "1")

    assert done.returncode == 0, done.stderr
    assert verified.stdout.startswith("VERIFIED: all 2 events")
    assert (other.returncode, other.stderr) == (
        2,
        "tickets: client-2.checkpoint is a checkpoint of client 'client-2'\n",
    )
    assert (both.returncode, both.stderr) == (2, "tickets: --checkpoint and --since exclude each other\n")


@pytest.mark.parametrize(
    ("scope", "verified"),
    [
        (["--policy", "letters"], "all 1 events of policy 'letters'"),
        (["--first", "1", "--last", "2"], "all 2 events at positions 1 to 2"),
        ([], "all 5 events at positions 1 to 5"),
    ],
)
def test_the_evidence_of_each_scope_is_exported(
    tmp_path: Path, sqlite_url: str, scope: list[str], verified: str
) -> None:
    given_ticket(sqlite_url, "client-1")
    reset(sqlite_url, "client-1")
    with opened(sqlite_url) as store, service_over(store) as service:
        service.define("letters", subject=Subject("client-1", ""))
    (tmp_path / "key.txt").write_text(tickets(tmp_path, "keys", "public").stdout)

    done = tickets(tmp_path, "evidence", "export", "client-1", *scope, "-o", "e.zip")
    shown = tickets(tmp_path, "evidence", "verify", "e.zip", "--key", "key.txt")

    assert done.returncode == 0, done.stderr
    assert shown.stdout.startswith(f"VERIFIED: {verified} in client 'client-1', in a ledger of 5 entries")
    both = tickets(tmp_path, "evidence", "export", "client-1", "user-0", "--first", "1", "-o", "e.zip")
    assert (both.returncode, both.stderr[:28]) == (2, "tickets: give only one of a ")


def test_an_export_with_bytes_determines_the_root(tmp_path: Path, database_url: str) -> None:
    """With hashlib alone, as docs/evidence.md describes it."""
    given_ticket(database_url, "client-1")
    reset(database_url, "client-1", count=5)
    settings = {"TICKETS_DATABASE_URL": database_url}

    exported = tickets(tmp_path, "audit", "export", "client-1", "--with-bytes", **settings).stdout
    checkpoint = tickets(tmp_path, "checkpoint", "client-1", **settings).stdout.split("\n")

    leaves = []
    for line in map(json.loads, exported.splitlines()):
        fields = [b"tickets-leaf-v1", b"client-1", line["position"].to_bytes(8, "big")]
        fields += [bytes.fromhex(line["stream"].replace("-", "")), line["version"].to_bytes(8, "big")]
        fields += [line["type"].encode(), base64.b64decode(line["state"])]
        framed = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
        leaves.append(hashlib.sha256(b"\x00" + framed).digest())
    assert [checkpoint[1], checkpoint[2]] == ["8", base64.b64encode(root_over(leaves)).decode()]


def root_over(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + root_over(leaves[:left]) + root_over(leaves[left:])).digest()


def test_nothing_that_a_terminal_interprets_is_printed(tmp_path: Path, sqlite_url: str) -> None:
    evil = "=1+1\x1b[2K\r\n\x9b31m\x7f\u202e\u2028"
    with opened(sqlite_url) as store, service_over(store) as service:
        service.register()
        service.create()
        service.regenerate(reason=evil)
        for actor in ("+cmd", "@cmd", "-cmd", "\tcmd", "safe"):
            service.regenerate(actor=actor)
    client, user = SUBJECT
    for command in (
        ["history", client, user],
        ["history", client, user, "--json"],
        ["audit", "export", client],
        ["audit", "export", client, "--csv"],
        ["replay", client, user, "--at-version", "2"],
        ["history", client, f"{user}{evil}"],
    ):
        done = tickets(tmp_path, *command)

        printed = (done.stdout + done.stderr).replace("\r\n", "\n")
        assert "u202e" in printed
        assert all(line.isprintable() for line in printed.split("\n")), command

    lines = tickets(tmp_path, "audit", "export", client).stdout.splitlines()
    assert [json.loads(line)["reason"] for line in lines][2] == evil
    table, raw = (
        list(csv.DictReader(io.StringIO(tickets(tmp_path, "audit", "export", client, "--csv", *more).stdout)))
        for more in ([], ["--raw"])
    )
    assert table[2]["reason"] == "'=1+1\\u001b[2K\\u000d\\u000a\\u009b31m\\u007f\\u202e\\u2028"
    assert [row["actor"] for row in table][3:8] == ["'+cmd", "'@cmd", "'-cmd", "'\\u0009cmd", "safe"]
    assert [row["actor"] for row in raw][3:8] == ["+cmd", "@cmd", "-cmd", "\tcmd", "safe"]


def test_an_erased_comment_is_displayed_as_erased(tmp_path: Path, sqlite_url: str) -> None:
    with opened(sqlite_url) as store, service_over(store) as service:
        service.register()
        service.create(reason="of a person")
        service.execute(service_command(EraseUser))
    client, user = SUBJECT
    history, exported, table = (
        tickets(tmp_path, *arguments).stdout
        for arguments in (
            ["history", client, user],
            ["audit", "export", client],
            ["audit", "export", client, "--csv"],
        )
    )

    assert "reason: erased" in history
    assert json.loads(exported.splitlines()[1])["reasonErased"] is True
    assert [row["reason"] for row in csv.DictReader(io.StringIO(table))][1] == "erased"
    assert "of a person" not in history + exported + table


def test_comments_that_cannot_be_erased_are_listed(tmp_path: Path, sqlite_url: str) -> None:
    with opened(sqlite_url) as store, service_over(store) as service:
        service.register()
        service.create(reason="erasable")
        service.regenerate(reason="of release 1.0")
        reason, state = (
            bytes(store._fetch(f"SELECT {column} FROM {table} WHERE {version} = 2", ())[0][0])
            for column, table, version in (
                ("reason", "details", "version"),
                ("state", "ticket_events", "originator_version"),
            )
        )
        stored = re.sub(rb'"reason":null(.*),"details":"[0-9a-f]+"', rb'"reason":"%s"\1' % reason, state)
        store._run("UPDATE ticket_events SET state = ? WHERE originator_version = 2", [(stored,)])
    client, user = SUBJECT
    table, lines, none = (
        tickets(tmp_path, "audit", "permanent-comments", client, *more).stdout
        for more in ([], ["--json", "--user", user], ["--user", "user-0"])
    )

    assert "TicketRegenerated" in table
    assert "of release 1.0" in table
    assert "erasable" not in table
    assert table.endswith("Comments that cannot be erased: 1\n")
    assert [json.loads(line)["position"] for line in lines.splitlines()] == [3]
    assert none.endswith("Comments that cannot be erased: 0\n")
