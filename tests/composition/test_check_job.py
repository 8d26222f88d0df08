"""A server checks the record by schedule, in another process (both stores)."""

import logging
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from application.record.installation import is_recent, newest_check
from application.record.replay import WITHOUT_COMMITMENT
from domain.record.installation import FAILED, PASSED, RecordChecked
from domain.shared.subject import Subject
from interface.cli.operations.commands import Health
from interface.composition import check_job
from interface.composition.check_job import check_if_due
from interface.composition.doctor.check import check_record_age
from interface.composition.installation import installation_of
from interface.composition.service import RunningService, start
from interface.outbound.sql.codec import encode
from interface.settings import Settings
from tests.support.command import tickets
from tests.support.fakes import NOW
from tests.support.ledgers import given_ticket
from tests.support.server import given_outbox_key
from tests.support.stores import as_release_1_0_wrote


@pytest.fixture
def running(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningService]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TICKETS_DATABASE_URL", database_url)
    given_outbox_key(tmp_path)
    given_ticket(database_url, "client-1")
    running = start(Settings(database_url=database_url))
    yield running
    running.close()


def never() -> bool:
    return False


def damage(running: RunningService) -> None:
    running.store._run("DELETE FROM tickets", [()])


def test_a_due_check_is_done_once(running: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
    check_if_due(running, never)
    first = newest_check(running.store)
    monkeypatch.setattr(check_job, "_run", pytest.fail)
    check_if_due(running, never)

    assert first
    assert (first.operation, first.outcome) == ("tickets jobs check", PASSED)
    assert {name: first.figures[name] for name in ("events", "faults")} == {"events": 2, "faults": 0}


def test_the_findings_of_a_due_check_are_logged(
    running: RunningService, caplog: pytest.LogCaptureFixture
) -> None:
    damage(running)

    check_if_due(running, never)

    assert caplog.messages == [
        "record check: differs: client 'client-1', user 'user-0': the read row differs from the replayed one"
    ]
    checked = newest_check(running.store)
    assert checked
    assert (checked.outcome, checked.figures["faults"]) == (FAILED, 1)


def test_users_that_are_not_recorded_yet_are_one_line_of_information(
    running: RunningService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="interface.composition")
    insert = "INSERT INTO recipients (client_ext_id, user_ext_id, version, row) VALUES (?, ?, 1, ?)"
    rows = []
    for number in range(3):
        user = {"client_ext_id": "client-1", "user_ext_id": f"of 1.0 {number}", "version": 1}
        row = {**user, "email": None, "created": NOW, "last_modified": NOW}
        rows.append((user["client_ext_id"], user["user_ext_id"], encode(row)))
    running.store._run("DELETE FROM row_seals", [()])
    running.store._run(insert, rows)
    as_release_1_0_wrote(running.store, Subject("client-1", "user-0"))

    check_if_due(running, never)

    of_check = [record for record in caplog.records if record.getMessage().startswith("record check: ")]
    assert [(record.levelname, record.getMessage()) for record in of_check] == [
        (
            "WARNING",
            f"record check: not recorded yet: client 'client-1', recipient 'user-0'{WITHOUT_COMMITMENT}",
        ),
        ("INFO", "record check: 3 users of release 1.0 are not recorded yet"),
    ]


def test_a_check_that_another_server_runs_is_not_started(
    running: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_job, "_run", pytest.fail)
    other = start(running.settings)
    with other.store.lease("check-job"):
        check_if_due(running, never)
    other.close()


def test_a_check_ends_when_its_server_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def endless(_: Any, **options: Any) -> Any:
        started.append(popen(["sleep", "600"], **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", endless)

    check_job._run([], lambda: bool(started))

    assert started[0].returncode < 0


def test_the_command_checks_unless_the_record_was_just_checked(
    running: RunningService, tmp_path: Path
) -> None:
    there = {"TICKETS_DATABASE_URL": running.settings.database_url}
    checks = [tickets(tmp_path, "jobs", "check", "--every", "3600", **there) for _ in range(2)]
    damage(running)
    with running.store.lease("check"):
        locked = tickets(tmp_path, "jobs", "check", **there)
    failed = tickets(tmp_path, "jobs", "check", **there)

    assert [done.returncode for done in (*checks, locked, failed)] == [0, 0, 0, 1]
    assert "2 events, 2 rows, 0 checkpoints: nothing differs" in checks[0].stdout
    assert checks[1].stdout == "The newest check is younger than 3600 seconds.\n"
    assert locked.stdout == "Another process runs this job now.\n"


def test_the_doctor_reports_the_age_and_the_result(running: RunningService) -> None:
    def found() -> list[Health]:
        return [finding.health for finding in check_record_age(running.settings)]

    installation = installation_of(running.store)
    assert found() == [Health.WARNING]
    for outcome, health in ((PASSED, Health.GOOD), (FAILED, Health.BAD)):
        installation.note(RecordChecked, operation="tickets jobs check", outcome=outcome, figures={})
        assert found() == [health]


def test_a_check_is_recent_within_the_interval_and_not_in_the_future() -> None:
    day = timedelta(days=1)
    checked = RecordChecked.__new__(RecordChecked)
    object.__setattr__(checked, "timestamp", NOW)

    assert is_recent(checked, NOW + day / 2, day)
    assert not is_recent(checked, NOW + day, day)
    assert not is_recent(checked, NOW - day / 2, day)
    assert not is_recent(None, NOW, day)
