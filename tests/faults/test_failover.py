"""The primary of two PostgreSQL servers is killed under load: answered resets are kept, and the service recovers."""

import os
import random
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest

from domain.shared.subject import Subject
from domain.tickets.events import TicketRegenerated
from tests.support.command import tickets
from tests.support.evidence import assert_complete, open_store, outbox_of
from tests.support.failover import TwoServers, missing, two_servers
from tests.support.follower import Follower
from tests.support.receiver import receiving
from tests.support.server import ROOT, Server, serving, until
from tests.support.stores import history_of

FAILOVERS = int(os.environ.get("TICKETS_TEST_FAILOVERS", "1"))
CLIENT = "client-1"
USERS = [f"user-{number}" for number in range(4)]
CALLERS = 8
# Measured from the moment when a server accepts writes again.
ANSWERS_AGAIN_WITHIN_SECONDS = 10
SETTINGS: Any = {
    "TICKETS_PUSH_PRIVATE_HOSTS": "127.0.0.1",
    "TICKETS_CHECKPOINT_EVERY_EVENTS": "50",
    "TICKETS_CHECKPOINT_EVERY_SECONDS": "5",
}

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all is here")


class Answered(NamedTuple):
    """A response as its caller received it."""

    server: int
    begun: float
    ended: float
    status: int
    retry_after: str | None


@dataclass
class Caller:
    """Resets a ticket repeatedly at any server; a failed request is repeated with its key."""

    user: str
    servers: list[Server]
    chance: random.Random
    stopping: threading.Event
    answers: list[Answered] = field(default_factory=list)
    resets: list[tuple[int, int]] = field(default_factory=list)

    def run(self) -> None:
        with httpx.Client(timeout=60, trust_env=False) as http:
            while not self.stopping.is_set():
                key = uuid.UUID(int=self.chance.getrandbits(128)).hex
                while not self._reset(http, key):
                    time.sleep(0.02)

    def _reset(self, http: httpx.Client, key: str) -> bool:
        number = self.chance.randrange(len(self.servers))
        client, begun = self.servers[number].client, time.monotonic()
        answer = http.post(
            f"{client.base_url}{CLIENT}/users/{self.user}/ticket/reset",
            headers={"Idempotency-Key": key, "Authorization": client.headers["Authorization"]},
        )
        self.answers.append(
            Answered(number, begun, time.monotonic(), answer.status_code, answer.headers.get("Retry-After"))
        )
        if answer.status_code == httpx.codes.OK:
            self.resets.append((answer.json()["version"], answer.json()["resetCount"]))
        return answer.status_code == httpx.codes.OK


@dataclass
class Poller:
    """Reads the feed page by page at any server, and records its events."""

    servers: list[Server]
    chance: random.Random
    stopping: threading.Event
    events: list[Any] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)

    def run(self) -> None:
        with httpx.Client(timeout=60, trust_env=False) as http:
            while not self.stopping.is_set():
                client = self.chance.choice(self.servers).client
                url = f"{client.base_url}{CLIENT}/events?after={len(self.events)}&wait=1"
                answer = http.get(url, headers={"Authorization": client.headers["Authorization"]})
                self.statuses.add(answer.status_code)
                if answer.status_code == httpx.codes.OK:
                    self.events += answer.json()
                else:
                    time.sleep(0.1)


@contextmanager
def under_load(servers: list[Server], chance: random.Random) -> Iterator[tuple[list[Caller], Poller]]:
    """Yield the resetting and the reading threads; afterwards they have ended, and each reset has a response."""
    stopping = threading.Event()
    callers = [
        Caller(USERS[number % len(USERS)], servers, random.Random(chance.random()), stopping)
        for number in range(CALLERS)
    ]
    poller = Poller(servers, random.Random(chance.random()), stopping)
    with ThreadPoolExecutor(CALLERS + 1) as pool:
        ends = [pool.submit(caller.run) for caller in callers] + [pool.submit(poller.run)]
        try:
            yield callers, poller
        finally:
            stopping.set()
            for end in ends:
                end.result(90)


def given_tickets(server: Server) -> None:
    for user in USERS:
        path = f"/{CLIENT}/users/{user}"
        server.client.put(path, json={"email": "u@example.com"}).raise_for_status()
        server.client.post(f"{path}/ticket").raise_for_status()


def follow_streams(servers: list[Server], directory: Path) -> list[Follower]:
    """Return the documentation's subscriber for each server's stream: it ends if it misses an event."""
    return [
        Follower(
            [
                sys.executable,
                str(ROOT / "docs" / "subscriber.py"),
                f"http://127.0.0.1:{server.port}",
                CLIENT,
                f"{number}.cursor",
            ],
            directory,
            directory / f"{number}.seen",
            TICKETS_TOKEN=server.client.headers["Authorization"].removeprefix("Bearer "),
        )
        for number, server in enumerate(servers)
    ]


def fail_over(both: TwoServers, callers: list[Caller], chance: random.Random) -> tuple[float, float, float]:
    """Kill the primary after further responses.

    Return when it was killed, when another server took writes, and when every service process had answered again.
    """
    wanted = sum(len(caller.resets) for caller in callers) + chance.randrange(20, 200)
    until(lambda: sum(len(caller.resets) for caller in callers) >= wanted, "resets are answered")
    killed, primary = time.monotonic(), both.primary()
    both.kill(primary)
    until(lambda: takes_writes(both.url), "another server is promoted", 60)
    promoted = time.monotonic()
    until(lambda: all(back(callers, promoted)), "every service process answers again", 60)
    answered = max(time for time in back(callers, promoted) if time)
    both.run(primary)
    both.wait_until_one_stands_by()
    return killed, promoted, answered


def takes_writes(url: str) -> bool:
    with suppress(psycopg.Error), psycopg.connect(url, connect_timeout=2):
        return True
    return False


def back(callers: list[Caller], promoted: float) -> list[float | None]:
    """Return the time of each service process's first response to a reset sent after the promotion."""
    found = [one for caller in callers for one in list(caller.answers)]
    good = [one for one in found if one.status == httpx.codes.OK and one.ended > promoted]
    return [min((one.ended for one in good if one.server == number), default=None) for number in range(2)]


def seen_by(follower: Follower) -> list[Any]:
    """Return the events of a follower; duplicates must be equal."""
    return list({event["id"]: event for event in follower.events()}.values())


@pytest.mark.timeout(300 + 60 * FAILOVERS)
def test_a_killed_primary_costs_seconds_and_no_answered_reset_nor_a_position_of_the_feed(
    tmp_path: Path, chance: random.Random
) -> None:
    with ExitStack() as stack:
        both = stack.enter_context(two_servers())
        receiver = stack.enter_context(receiving())
        # One reads the feed from the primary, the other from the standby.
        servers = [
            stack.enter_context(serving(tmp_path, both.url, **SETTINGS, **more))
            for more in ({}, {"TICKETS_READ_DATABASE_URL": both.read_url})
        ]
        given_tickets(servers[0])
        hook = {"url": receiver.url("/hook"), "after": 0, "batchSize": 10}
        servers[0].client.put(f"/{CLIENT}/subscriptions/hook", json=hook).raise_for_status()
        followers = follow_streams(servers, tmp_path)
        for follower in followers:
            stack.callback(follower.stop)

        with under_load(servers, chance) as (callers, poller):
            times = [fail_over(both, callers, chance) for _ in range(FAILOVERS)]

        ledger = ledger_of(servers[0])
        until(lambda: not outbox_of(both.url), "every ticket is delivered", 60)
        readers: dict[str, Callable[[], list[Any]]] = {
            "poller": lambda: poller.events + ledger[len(poller.events) :],
            "webhook": lambda: list(
                {event["id"]: event for got in receiver.at("/hook") for event in got.events}.values()
            ),
            **{f"stream {number}": lambda f=f: seen_by(f) for number, f in enumerate(followers)},  # type: ignore[misc]
        }
        for name, seen in readers.items():
            until(lambda seen=seen: len(seen()) >= len(ledger), f"{name} has all", 60)  # type: ignore[misc]
            assert [event["id"] for event in ledger] == [event["id"] for event in seen()[: len(ledger)]], name
            assert ledger == seen()[: len(ledger)], name
        assert all(follower.process.poll() is None for follower in followers)
        assert_every_answer_is_stored(both.url, callers)
        assert_complete(both.url, tmp_path / "var" / "mail", [Subject(CLIENT, user) for user in USERS])
        check = tickets(tmp_path, "replay", "--check", TICKETS_DATABASE_URL=both.url)
        assert check.returncode == 0, check.stderr
        report(times, callers)

    assert [int(event["id"]) for event in ledger] == list(range(1, len(ledger) + 1))
    assert poller.statuses <= {200, 503}
    answers = [answer for caller in callers for answer in caller.answers]
    assert {answer.status for answer in answers} == {200, 503}
    assert all(answer.retry_after for answer in answers if answer.status == httpx.codes.SERVICE_UNAVAILABLE)
    assert max(answered - promoted for _, promoted, answered in times) < ANSWERS_AGAIN_WITHIN_SECONDS
    assert not [line for line in logged(servers) if "Traceback" in line]


def ledger_of(server: Server) -> list[Any]:
    events: list[Any] = []
    while page := server.client.get(f"/{CLIENT}/events?limit=1000&after={len(events)}").json():
        events += page
    return events


def assert_every_answer_is_stored(database_url: str, callers: list[Caller]) -> None:
    """Each answered reset is stored once, and no unanswered one is."""
    store = open_store(database_url)
    try:
        for user in USERS:
            events = history_of(store, Subject(CLIENT, user))
            stored = [event for event in events if isinstance(event, TicketRegenerated)]
            answered = [reset for caller in callers if caller.user == user for reset in caller.resets]
            assert sorted(answered) == [(event.originator_version, event.reset_count) for event in stored]
    finally:
        store.close()


def logged(servers: list[Server]) -> list[str]:
    return [line for server in servers for line in server.log.read_text().splitlines()]


def report(times: list[tuple[float, float, float]], callers: list[Caller]) -> None:
    answers = [answer for caller in callers for answer in caller.answers]
    refused = [a.ended - a.begun for a in answers if a.status != httpx.codes.OK]
    taken = [a.ended - a.begun for a in answers if a.status == httpx.codes.OK]
    for name, seconds in (
        ("killed until another server takes writes", [promoted - killed for killed, promoted, _ in times]),
        ("promoted until every process answers", [answered - promoted for _, promoted, answered in times]),
        ("a 503 took", refused),
        ("a 200 took", taken),
    ):
        median, longest = statistics.median(seconds), max(seconds)
        print(f"{name}: median {median:.3f} s, longest {longest:.3f} s, of {len(seconds)}")  # noqa: T201
