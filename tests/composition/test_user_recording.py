"""The job of a server that records the users of release 1.0."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from application.operations.seal_rows import seal_rows
from domain.shared.subject import Subject
from domain.users.user import user_stream_id
from interface.composition.service import RunningService, in_background
from interface.composition.users import UserRecording
from interface.outbound.sql.codec import encode
from interface.settings import Settings
from tests.support.evidence import open_store
from tests.support.fakes import NOW, SUBJECT

OTHER = SUBJECT._replace(user_ext_id="other")


@pytest.fixture
def service(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[RunningService, UserRecording]]:
    """A service over a store of an earlier release, and its job."""
    monkeypatch.chdir(tmp_path)
    with closing(open_store(sqlite_url)) as store:
        store._run("DELETE FROM row_seals", [()])
    with in_background(Settings(database_url=sqlite_url)) as (running, background):
        yield running, UserRecording(running, background.submit, lambda: False)


def as_release_1_0_registered(running: RunningService, user: Subject) -> None:
    row = {
        "client_ext_id": user.client_ext_id,
        "user_ext_id": user.user_ext_id,
        "email": "user@example.com",
        "created": NOW,
        "last_modified": NOW,
        "version": 1,
    }
    insert = "INSERT INTO recipients (client_ext_id, user_ext_id, version, row) VALUES (?, ?, 1, ?)"
    running.store._run(insert, [(*user, encode(row))])


def number_of_events(running: RunningService, user: Subject) -> int:
    return len(running.store.events_of(user_stream_id(*user)))


def test_the_job_stops_after_a_run_that_found_nothing(service: tuple[RunningService, UserRecording]) -> None:
    running, job = service
    as_release_1_0_registered(running, SUBJECT)
    job.run()
    assert number_of_events(running, SUBJECT) == 1
    job.run()

    as_release_1_0_registered(running, OTHER)
    job.run()

    assert number_of_events(running, OTHER) == 0


def test_the_job_reads_no_user_of_a_complete_table(service: tuple[RunningService, UserRecording]) -> None:
    running, job = service
    as_release_1_0_registered(running, SUBJECT)
    seal_rows(store=running.store, seals=running.store, finish=True)

    job.run()

    assert number_of_events(running, SUBJECT) == 0


def test_the_job_logs_the_number_of_users_that_it_leaves(
    service: tuple[RunningService, UserRecording], caplog: pytest.LogCaptureFixture
) -> None:
    running, job = service
    as_release_1_0_registered(running, SUBJECT)
    job.run()
    running.store._run("DELETE FROM recipients", [()])
    as_release_1_0_registered(running, SUBJECT)

    job.run()
    job.run()

    left = [record for record in caplog.records if record.levelname == "WARNING" and record.args == (1,)]
    assert len(left) == 2
    assert number_of_events(running, SUBJECT) == 1
