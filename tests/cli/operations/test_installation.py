"""Commands of operators record themselves in the ledger of the installation."""

import json
import os
import pwd
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from interface.composition import installation
from interface.composition.installation import operator
from tests.support.command import tickets
from tests.support.evidence import open_store
from tests.support.ledgers import given_ticket
from tests.support.schemas import make_unusable

USER = pwd.getpwuid(os.getuid()).pw_name
NOT_RECORDED = "tickets: not recorded in the ledger of the installation: "


def entries(directory: Path, **settings: str) -> list[dict[str, Any]]:
    shown = tickets(directory, "installation", "history", "--json", **settings)
    assert shown.returncode == 0, shown.stderr
    return [json.loads(line) for line in shown.stdout.splitlines()]


def test_each_command_of_an_operator_leaves_an_entry(database_url: str, tmp_path: Path) -> None:
    settings = {"TICKETS_DATABASE_URL": database_url, "LOGNAME": "mallory", "SUDO_UID": "4242"}
    for arguments in (
        ["migrate"],
        ["jobs", "expire"],
        ["users", "record"],
        ["keys", "rotate"],
        ["keys", "rotate", "--outbox"],
        ["keys", "reseal"],
        ["rebuild"],
        ["replay", "--check"],
        ["restored"],
        ["checkpoint", "."],
        ["jobs", "seal"],
    ):
        done = tickets(tmp_path, *arguments, **settings)
        assert done.returncode == 0, done.stderr
        assert NOT_RECORDED not in done.stderr

    found = entries(tmp_path, **settings)

    assert [item["details"].get("operation", item["type"]) for item in found] == [
        "tickets migrate",
        "tickets jobs expire",
        "tickets users record",
        "tickets keys rotate",
        "tickets keys rotate --outbox",
        "tickets keys reseal",
        "tickets rebuild",
        "tickets replay --check",
        "StoreRestored",
        "tickets checkpoint",
        "tickets jobs seal",
    ]
    assert {item["actor"] for item in found} == {f"os:{USER} (sudo: 4242)"}
    assert found[3]["details"]["figures"]["fingerprint"].count(" ") == 7
    assert found[7]["details"]["outcome"] == "passed"
    shown = tickets(tmp_path, "installation", "history", **settings)
    assert "tickets keys rotate --outbox" in shown.stdout


def test_a_backup_and_its_restore_are_entries(sqlite_url: str, tmp_path: Path) -> None:
    given_ticket(sqlite_url, "client-1")

    assert tickets(tmp_path, "backup", "backup.db").returncode == 0
    assert tickets(tmp_path, "restore", "backup.db", "--force").returncode == 0

    assert [item["type"] for item in entries(tmp_path)] == ["StoreRestored", "RecordChecked"]
    assert tickets(tmp_path, "replay", "--check").returncode == 0
    before = tmp_path / "var/tickets.db"
    [kept] = before.parent.glob("tickets.db.before-restore-*Z")
    shutil.move(kept, before)
    assert [item["details"]["operation"] for item in entries(tmp_path)] == ["tickets backup"]


def test_a_check_that_finds_faults_is_recorded_as_failed(sqlite_url: str, tmp_path: Path) -> None:
    given_ticket(sqlite_url, "client-1")
    with_fault = tmp_path / "var/tickets.db"
    with closing(sqlite3.connect(with_fault)) as store:
        store.execute("DELETE FROM tickets")
        store.commit()

    assert tickets(tmp_path, "replay", "--check").returncode == 1

    [item] = entries(tmp_path)
    assert (item["details"]["outcome"], item["details"]["figures"]["faults"]) == ("failed", 1)


def test_a_command_works_without_a_store_and_prints_that_it_is_not_recorded(tmp_path: Path) -> None:
    done = tickets(tmp_path, "keys", "rotate")

    assert done.returncode == 0
    assert done.stdout.startswith("tickets+")
    assert done.stderr.startswith(f"{NOT_RECORDED}there is no store in var/tickets.db")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "var/tickets.db").exists()


def test_a_clock_that_cannot_be_recorded_is_logged(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unusable_clock() -> Any:
        raise ValueError("year 10000 is out of range")

    monkeypatch.setattr(installation, "system_clock", unusable_clock)
    with closing(open_store(sqlite_url)) as store:
        installation.note_clock_set_back(store, 60)

    assert caplog.messages == [
        "the clock is not recorded in the ledger of the installation: year 10000 is out of range"
    ]


def test_a_command_works_if_the_store_cannot_be_used(sqlite_url: str, tmp_path: Path) -> None:
    make_unusable(sqlite_url)

    done = tickets(tmp_path, "keys", "rotate")

    assert done.returncode == 0
    assert done.stderr.startswith(NOT_RECORDED)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("caller", "shown"),
    [("", ""), ("0", " (sudo: root)"), ("x", ""), ("99999999999999999999", " (sudo: 99999999999999999999)")],
)
def test_the_actor_is_the_user_of_the_operating_system(
    caller: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "mallory")
    monkeypatch.setenv("SUDO_UID", caller)

    assert operator() == f"os:{USER}{shown}"
