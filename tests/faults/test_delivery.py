"""kill -9 of a delivery worker, at every step: no ticket is lost, and duplicates have the same Message-ID."""

import random
import signal
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from domain.delivery.ticket_delivery import TicketDelivered
from tests.support import crashing_worker
from tests.support.command import Command, command
from tests.support.crashing_worker import (
    CONNECTED,
    DIES_WHEN,
    LEASED,
    MAIL_TAKEN,
    RECIPIENT_TAKEN,
    RECORDED,
    RECORDING,
)
from tests.support.deliveries import (
    all_over,
    assert_doubles_are_the_same,
    assert_last_mails_verify,
    lease_end,
    minting,
    recorded_of,
    smtp,
    subjects,
)
from tests.support.lanes import forms
from tests.support.mail_server import OK, MailServer, mail_server
from tests.support.server import serving, until

USER, OTHER = subjects(2)
# The lease after which others retry the deliveries of a dead worker.
SHORT_LEASE = {"TICKETS_DELIVERY_LEASE_SECONDS": "1"}


@pytest.mark.parametrize(
    ("step", "mails"),
    [
        (LEASED, 1),
        (CONNECTED, 1),
        (RECIPIENT_TAKEN, 1),
        (MAIL_TAKEN, 2),
        (RECORDING, 2),
        (RECORDED, 1),
    ],
)
def test_a_worker_that_is_killed_loses_no_ticket(
    database_url: str, tmp_path: Path, step: str, mails: int
) -> None:
    with minting(tmp_path, database_url) as mint, mail_server() as server:
        mint.create(USER)
        settings = smtp(server, TICKETS_DATABASE_URL=database_url, **SHORT_LEASE)
        dying = {**settings, DIES_WHEN: step}
        with command(tmp_path, "deliver", module=crashing_worker.__name__, **dying) as worker:
            assert worker.wait() == -signal.SIGKILL
        mint.create(OTHER)
        with command(tmp_path, "deliver", **settings) as next_worker:
            all_over(database_url)
            assert next_worker.stop() == 0

    assert len(server.to("user-0@example.com")) == mails
    assert len(server.to("user-1@example.com")) == 1
    assert_each_is_delivered(database_url, server, mails - 1)


def assert_each_is_delivered(database_url: str, server: MailServer, doubles: int) -> None:
    """Both users have the mail with their ticket, it is recorded once, and duplicates are equal."""
    assert assert_doubles_are_the_same(server) == doubles
    assert_last_mails_verify(database_url, server, [USER, OTHER])
    for reported in recorded_of(database_url, [USER, OTHER]).values():
        assert [type(event) for event in reported] == [TicketDelivered]


def test_a_worker_that_is_killed_while_the_mail_server_takes_the_mail_loses_no_ticket(
    database_url: str, tmp_path: Path
) -> None:
    killed: list[Command] = []

    def kill_at_first(step: str, _to: str) -> str:
        if step == "DATA" and not killed:
            killed.append(worker)
            worker.kill()
        return OK

    with minting(tmp_path, database_url) as mint, mail_server(kill_at_first) as server:
        settings = smtp(server, TICKETS_DATABASE_URL=database_url, **SHORT_LEASE)
        with command(tmp_path, "deliver", **settings) as worker:
            mint.create(USER)
            until(lambda: killed, "the worker is killed")
        with command(tmp_path, "deliver", **settings):
            mint.create(OTHER)
            all_over(database_url)

    assert_each_is_delivered(database_url, server, 1)


def test_a_leased_ticket_is_not_sent_by_another_worker(database_url: str, tmp_path: Path) -> None:
    users = subjects(30)
    with minting(tmp_path, database_url) as mint, mail_server() as server, ExitStack() as stack:
        mint.create(*users)
        for name in ("one", "two"):
            settings = smtp(
                server, TICKETS_DATABASE_URL=database_url, TICKETS_MAIL_FROM=f"{name}@bank.example"
            )
            stack.enter_context(command(tmp_path, "deliver", output=name, **settings))
        stack.enter_context(
            serving(tmp_path, database_url, **smtp(server, TICKETS_MAIL_FROM="server@bank.example"))
        )
        senders: set[str] = set()
        minted = len(users)
        deadline = time.monotonic() + 60
        while len(senders) < 3 and time.monotonic() < deadline:
            all_over(database_url)
            senders = {mail.sender for mail in server.taken}
            mint.reset(*users)
            minted += len(users)
        all_over(database_url)

    reported = [event for events in recorded_of(database_url, users).values() for event in events]
    delivered = [event for event in reported if isinstance(event, TicketDelivered)]
    assert len(senders) > 1
    assert assert_doubles_are_the_same(server) == 0
    assert len(reported) == minted
    assert len(server.taken) == len(delivered)
    assert_last_mails_verify(database_url, server, users)


def test_a_mail_server_that_is_slower_than_the_lease_gets_no_mail_twice(
    database_url: str, tmp_path: Path
) -> None:
    proceed = threading.Event()

    def slow(_step: str, _to: str) -> str:
        proceed.wait(30)
        return OK

    with minting(tmp_path, database_url) as mint, mail_server(slow) as server, ExitStack() as stack:
        mint.create(USER)
        settings = smtp(server, TICKETS_DATABASE_URL=database_url, TICKETS_DELIVERY_LEASE_SECONDS="3")
        for name in ("one", "two", "three"):
            stack.enter_context(command(tmp_path, "deliver", output=name, **settings))
        until(lambda: lease_end(database_url), "it is taken")
        first = datetime.fromisoformat(lease_end(database_url))
        until(lambda: datetime.now(UTC) > first + timedelta(seconds=1), "the first lease is over")
        proceed.set()
        all_over(database_url)

    assert len(server.taken) == 1
    assert_last_mails_verify(database_url, server, [USER])


@pytest.mark.parametrize("kills", forms(short=2, full=8))
def test_workers_that_are_killed_at_any_moment_lose_no_ticket(
    database_url: str, tmp_path: Path, chance: random.Random, kills: int
) -> None:
    users = subjects(20)
    with minting(tmp_path, database_url) as mint, mail_server() as server, ExitStack() as stack:
        settings = smtp(server, TICKETS_DATABASE_URL=database_url, **SHORT_LEASE)
        mint.create(*users)
        workers = [Command(tmp_path, "deliver", **settings) for _ in range(3)]
        stack.callback(lambda: list(map(Command.kill, workers)))
        for _ in range(kills):
            wanted = len(server.taken) + chance.randrange(len(users))
            mint.reset(*users)
            until(lambda wanted=wanted: len(server.taken) >= wanted, "mails are sent")  # type: ignore[misc]
            victim = chance.randrange(len(workers))
            workers[victim].kill()
            workers[victim] = Command(tmp_path, "deliver", **settings)
        all_over(database_url)

    assert_doubles_are_the_same(server)
    assert_last_mails_verify(database_url, server, users)
    for reported in recorded_of(database_url, users).values():
        assert len(reported) == len({event.ticket_version for event in reported}) == 1 + kills
