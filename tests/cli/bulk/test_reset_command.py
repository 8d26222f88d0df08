"""`tickets reset`: a job of a file in this process, which Ctrl-C pauses and the same command continues (both stores)."""

import signal
from pathlib import Path

import pytest

from domain.policies.policy import SendingMethod, TicketPolicy
from domain.shared.subject import Subject
from domain.tickets.events import TicketRegenerated
from tests.support.bulk import CLIENT, given_users
from tests.support.command import command, tickets
from tests.support.ledgers import opened
from tests.support.server import given_outbox_key, until
from tests.support.service import service_over
from tests.support.stores import history_of

USERS = 40


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> dict[str, str]:
    """A store with users and tickets, and the file of the users."""
    given_outbox_key(tmp_path)
    with opened(database_url) as store, service_over(store) as service:
        service.define("quiet", policy=TicketPolicy(sending_method=(SendingMethod.NONE,)))
        users = given_users(service, USERS, policy_ext_id="quiet")
    (tmp_path / "users.csv").write_text("userExtId\n" + "".join(f"{user}\n" for user in users))
    return {"TICKETS_DATABASE_URL": database_url}


def resets_in(database_url: str) -> list[int]:
    """Return the number of resets of each user."""
    with opened(database_url) as store:
        histories = [history_of(store, Subject(CLIENT, f"user-{number}")) for number in range(1, USERS + 1)]
    return [sum(isinstance(event, TicketRegenerated) for event in events) for events in histories]


def test_an_interrupted_reset_is_continued_and_not_repeated(
    settings: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    arguments = ("reset", "--file", "users.csv", "--client", CLIENT, "--comment", "leak")
    with command(tmp_path, *arguments, "--pace", "20", **settings) as interrupted:
        until(lambda: sum(resets_in(database_url)) > 2, "the first resets")
        assert interrupted.stop(signal.SIGINT) == 130
    assert 0 < sum(resets_in(database_url)) < USERS

    for _ in range(2):
        done = tickets(tmp_path, *arguments, **settings)

        assert done.returncode == 0, done.stderr
        assert f"is finished: {USERS} reset, 0 refused, 0 pending." in done.stdout
        assert resets_in(database_url) == [1] * USERS
    assert tickets(tmp_path, *arguments, "--again", **settings).returncode == 0
    assert resets_in(database_url) == [2] * USERS


def test_a_dry_run_changes_nothing(settings: dict[str, str], database_url: str, tmp_path: Path) -> None:
    with (tmp_path / "users.csv").open("a") as file:
        file.write("unknown\n")
    arguments = ("reset", "--file", "users.csv", "--client", CLIENT)

    checked = tickets(tmp_path, *arguments, "--dry-run", **settings)
    differing = tickets(tmp_path, *arguments, "--expected-count", "7", **settings)

    assert checked.returncode == 0, checked.stderr
    assert f"{USERS + 1} users, 1 would be refused." in checked.stdout
    assert f"{USERS + 1},unknown,UserUnknown" in checked.stdout
    assert differing.returncode == 2
    assert f"{USERS + 1} users, not 7" in differing.stderr
    assert sum(resets_in(database_url)) == 0
    refused = tickets(tmp_path, *arguments, **settings)
    assert refused.returncode == 1
    assert "UserUnknown: 1 users" in refused.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("users.csv", "name\nx\n", "line 1"),
        ("users.txt", "x\n", "must end with"),
        ("none.csv", "", "cannot be read"),
    ],
)
def test_a_fault_of_the_file_is_reported(tmp_path: Path, name: str, content: str, message: str) -> None:
    if content:
        (tmp_path / name).write_text(content)

    done = tickets(tmp_path, "reset", "--file", name, "--client", CLIENT)

    assert done.returncode == 2
    assert message in done.stderr
