"""`tickets follow` as a separate process beside a server, ended in every way."""

import json
import os
import signal
from itertools import pairwise
from pathlib import Path

import pytest

from application.feed.feed_event import FeedEvent
from application.feed.follow import FollowedEvent
from application.record.objects import EventObject
from interface.cli.feed.commands import _reader
from tests.bench.seed import CLIENT, seed
from tests.support.command import Command, command
from tests.support.fakes import NOW
from tests.support.ledgers import given_ticket, ledgers, opened, reset
from tests.support.postgres import database_unreachable
from tests.support.server import NO_DELIVERY, serving, until

EVENTS = 300


def lines(following: Command) -> list[bytes]:
    return following.out.read_bytes().splitlines() if following.out.exists() else []


def has_printed(following: Command, count: int) -> None:
    """Wait for this number of lines."""
    until(lambda: len(lines(following)) >= count, f"{count} lines are printed")


def ids(following: Command) -> list[int]:
    return [int(json.loads(line)["id"]) for line in lines(following)]


@pytest.fixture
def ledger(sqlite_url: str) -> str:
    """The URL of a store with some events."""
    with opened(sqlite_url) as store:
        seed(store, range(3), length=EVENTS // 3)
    return sqlite_url


def test_the_lines_are_the_events_of_the_feed_as_they_happen(database_url: str, tmp_path: Path) -> None:
    path, chosen = f"/{CLIENT}/users/user-0", "TicketCreated,TicketDeleted"
    with (
        serving(tmp_path, database_url, **NO_DELIVERY) as server,
        command(tmp_path, "follow", CLIENT, "--json", TICKETS_DATABASE_URL=database_url) as every,
    ):
        server.client.put(path, json={"email": "u@example.com"}).raise_for_status()
        server.client.post(f"{path}/ticket").raise_for_status()
        # Now position 1 exists, after which a follower can start.
        with command(
            tmp_path,
            *("follow", CLIENT, "--json", "--after", "1", "--types", chosen),
            output="some",
            TICKETS_DATABASE_URL=database_url,
        ) as some:
            server.client.delete(f"{path}/ticket").raise_for_status()
            server.client.post(f"{path}/ticket").raise_for_status()
            server.client.delete(f"{path}/ticket").raise_for_status()
            has_printed(every, 4)
            has_printed(some, 3)
        feeds = [
            server.client.get(f"/{CLIENT}/events", params=query).content
            for query in ({}, {"after": "1", "types": chosen})
        ]

    assert [b"[%s]" % b",".join(lines(following)) for following in (every, some)] == feeds


def assert_dense(printed: list[int], repeats: int) -> None:
    """Assert that nothing is missing, and that only the last line before an end is repeated."""
    assert all(then - now in (0, 1) for now, then in pairwise([0, *printed]))
    assert len(printed) - len(set(printed)) <= repeats


def test_after_kill_9_it_resumes_after_the_last_line_or_repeats_it(ledger: str, tmp_path: Path) -> None:
    ends = (1, 60, 61, 150, EVENTS)
    for end in ends:
        with command(
            tmp_path, "follow", CLIENT, "--json", "--cursor", "c.json", TICKETS_DATABASE_URL=ledger
        ) as following:
            has_printed(following, end)

    assert_dense(ids(following), repeats=len(ends))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_without_an_error_and_it_resumes(
    sqlite_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    with opened(sqlite_url):
        pass  # without a store, the command would end
    for user in range(1, 4):
        with command(
            tmp_path, "follow", CLIENT, "--json", "--cursor", "c.json", TICKETS_DATABASE_URL=sqlite_url
        ) as following:
            given_ticket(sqlite_url, CLIENT, f"user-{user}")
            has_printed(following, 2 * user)
            assert following.stop(number) == 0

    assert following.err.read_text() == ""
    assert_dense(ids(following), repeats=2)


def test_a_closed_pipe_ends_it_immediately_without_an_error(ledger: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out")
    with command(tmp_path, "follow", CLIENT, "--after", str(EVENTS - 2), TICKETS_DATABASE_URL=ledger) as it:
        with (tmp_path / "out").open() as pipe:
            assert [pipe.readline().split()[1] for _ in range(2)] == [str(EVENTS - 1), str(EVENTS)]
        assert it.wait() == 0

    assert it.err.read_text() == ""


def test_an_unavailable_store_is_reported_once_and_no_event_is_missed(
    postgres_url: str, postgres_server: str, tmp_path: Path
) -> None:
    given_ticket(postgres_url, CLIENT)
    with command(tmp_path, "follow", CLIENT, "--json", TICKETS_DATABASE_URL=postgres_url) as following:
        has_printed(following, 1)
        with database_unreachable(postgres_server, postgres_url):
            following.reported("the PostgreSQL store failed")
        reset(postgres_url, CLIENT, 3)
        has_printed(following, 5)

    assert lines(following) == ledgers(postgres_url)[CLIENT]
    reported = following.err.read_text()
    assert reported.count("retrying") == reported.count("the store is reachable again") == 1


def test_a_line_is_readable_and_has_no_control_sequences() -> None:
    event = FeedEvent(
        position=42,
        source="tickets/client-123",
        type="TicketRegenerated",
        time=NOW,
        user_ext_id="user-\u202e",
        version=2,
        actor="anna",
        reason="[bold]lost\x1b[31m\nletter",
        traceparent="",
        changed={"resetCount": 1, "stateName": "active", "lockedUntil": None},
        object=EventObject("TicketCredential", "t-1", "t-1"),
    )

    line = _reader()(FollowedEvent(event, 41)).decode()

    assert " ".join(line.split()) == (
        "2026-11-23T09:42:00Z 42 TicketRegenerated user-\\u202e by anna: [bold]lost\\u001b[31m\\u000aletter"
        " [resetCount 1, stateName active, lockedUntil null]"
    )


def test_a_cursor_file_has_one_follower(ledger: str, tmp_path: Path) -> None:
    arguments = ("follow", CLIENT, "--cursor", "c.json")
    with command(tmp_path, *arguments, TICKETS_DATABASE_URL=ledger) as first:
        has_printed(first, 1)
        second = Command(tmp_path, *arguments, output="second", TICKETS_DATABASE_URL=ledger)
        assert second.wait() == 2

    second.reported("the cursor file c.json is in use by another process")
    assert not second.out.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--after", "1", "--cursor", "c.json"], "--after and --cursor exclude each other"),
        (["--after", "301"], "The ledger of the client ends at position 300."),
        (["--after", "-1"], "--after"),
        (["--types", "Nonsense"], "unknown event type 'Nonsense'; expected one of AccessNoted"),
        (["--types", ""], "--types: unknown event type ''; expected"),
        (["--cursor", "other.json"], "belongs to tickets/client-9, not to tickets/bench"),
        (["--cursor", "broken.json"], "broken.json is not a cursor file"),
        (["--cursor", "beyond.json"], "The ledger of the client ends at position 300."),
        (["--cursor", "/proc/none/c.json"], "cannot use the cursor file /proc/none/c.json"),
        (["--cursor", "."], "is a directory"),
    ],
)
def test_a_wrong_input_is_refused_with_a_message(
    ledger: str, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "other.json").write_text('{"of":"tickets/client-9","positions":{"client-9":1}}')
    (tmp_path / "beyond.json").write_text('{"of":"tickets/bench","positions":{"bench":301}}')
    (tmp_path / "broken.json").write_text('{"of":"tickets/bench"')

    following = Command(tmp_path, "follow", CLIENT, *arguments, TICKETS_DATABASE_URL=ledger)

    assert following.wait() == 2
    reported = following.err.read_text()
    assert message in " ".join(reported.replace("│", " ").split())
    assert "Traceback" not in reported
