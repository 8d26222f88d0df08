"""Every subscriber sees every event, in order, while processes are killed at any time."""

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.follower import Follower
from tests.support.lanes import forms
from tests.support.receiver import HANGS, OK, Received, Receiver, answer, receiving
from tests.support.server import ROOT, Server, until

ROUNDS = int(os.environ.get("TICKETS_TEST_SUBSCRIBER_ROUNDS", "1"))
CLIENTS = ("client-1", "client-2")
USERS = 4
QUICK: Any = {
    "TICKETS_PUSH_PRIVATE_HOSTS": "127.0.0.1",
    "TICKETS_PUSH_RETRY_SECONDS": "0.05",
    "TICKETS_PUSH_LONGEST_WAIT_SECONDS": "0.5",
    "TICKETS_PUSH_TIMEOUT_SECONDS": "0.3",
    "TICKETS_DELIVER": "False",
}


@dataclass
class Cluster:
    """Two servers on one store, which can be killed and restarted at their ports."""

    directory: Path
    database_url: str
    servers: list[Server] = field(default_factory=list)

    def start(self) -> None:
        self.servers = [Server(self.directory, self.database_url, **QUICK) for _ in range(2)]

    def kill(self, number: int) -> None:
        port = self.servers[number].port
        self.servers[number].kill()
        self.servers[number] = Server(self.directory, self.database_url, port=port, **QUICK)

    def close(self) -> None:
        for server in self.servers:
            server.kill()

    @property
    def client(self) -> httpx.Client:
        """Of a running server."""
        return self.servers[0].client


@dataclass
class Writer:
    """Resets tickets one after the other at any server; a request without a response is repeated with its key."""

    cluster: Cluster
    client: str
    chance: random.Random
    stopping: threading.Event
    answered: int = 0

    def run(self) -> None:
        with httpx.Client(timeout=10, trust_env=False) as http:
            while not self.stopping.is_set():
                user, key = f"user-{self.chance.randrange(USERS)}", f"{self.client}-{self.chance.random()}"
                while not self._reset(http, user, key):
                    time.sleep(0.01)

    def _reset(self, http: httpx.Client, user: str, key: str) -> bool:
        server = self.chance.choice(self.cluster.servers)
        headers = {"Idempotency-Key": key, "Authorization": server.client.headers["Authorization"]}
        try:
            answered = http.post(
                f"{server.client.base_url}{self.client}/users/{user}/ticket/reset", headers=headers
            )
        except httpx.TransportError:
            return False
        self.answered += answered.status_code == httpx.codes.OK
        return answered.status_code == httpx.codes.OK


@contextmanager
def under_load(cluster: Cluster, chance: random.Random) -> Iterator[list[Writer]]:
    stopping = threading.Event()
    writers = [Writer(cluster, client, random.Random(chance.random()), stopping) for client in CLIENTS]
    with ThreadPoolExecutor(len(writers)) as pool:
        ends = [pool.submit(writer.run) for writer in writers]
        try:
            yield writers
        finally:
            stopping.set()
            for end in ends:
                end.result(60)


def given_tickets(cluster: Cluster) -> None:
    for client in CLIENTS:
        for number in range(USERS):
            user = f"/{client}/users/user-{number}"
            cluster.client.put(user, json={"email": "u@example.com"}).raise_for_status()
            cluster.client.post(f"{user}/ticket").raise_for_status()


def given_subscription(cluster: Cluster, receiver: Receiver, client: str, batch_size: int) -> None:
    subscription = {"url": receiver.url(f"/{client}"), "after": 0, "batchSize": batch_size}
    cluster.client.put(f"/{client}/subscriptions/hook", json=subscription).raise_for_status()


def followers(cluster: Cluster, client: str) -> dict[str, Follower]:
    """Return the documentation's HTTP subscriber and `tickets follow`."""
    directory, server = cluster.directory, cluster.servers[1]
    token = server.client.headers["Authorization"].removeprefix("Bearer ")
    subscriber = [
        sys.executable,
        str(ROOT / "docs" / "subscriber.py"),
        f"http://127.0.0.1:{server.port}",
        client,
    ]
    follow = [
        sys.executable,
        "-m",
        "interface.main",
        "follow",
        client,
        "--json",
        "--cursor",
        f"{client}.follow",
    ]
    return {
        "docs/subscriber.py": Follower(
            [*subscriber, f"{client}.cursor"], directory, directory / f"{client}.http", TICKETS_TOKEN=token
        ),
        "tickets follow": Follower(
            follow, directory, directory / f"{client}.followed", TICKETS_DATABASE_URL=cluster.database_url
        ),
    }


def ledger(cluster: Cluster, client: str) -> list[Any]:
    events: list[Any] = []
    while page := cluster.client.get(f"/{client}/events?limit=1000&after={len(events)}").json():
        events += page
    return events


def assert_saw_all(name: str, seen: list[Any], wanted: list[Any]) -> None:
    """Each at least once, equal to the ledger, and new ones in order."""
    by_id = {event["id"]: event for event in seen}
    assert list(by_id) == [event["id"] for event in wanted], name
    assert list(by_id.values()) == wanted, name


def moody(chance: random.Random) -> Callable[[Received], bytes | None]:
    """Return a receiver's behaviour: it accepts most messages."""
    moods = [OK] * 30 + [answer(500), answer(503, "Retry-After: 0"), HANGS, b""]
    return lambda _: chance.choice(moods)


def one_run(
    cluster: Cluster,
    receiver: Receiver,
    following: dict[str, dict[str, Follower]],
    chance: random.Random,
    kills: int,
) -> None:
    victims: list[Callable[[], None]] = [lambda: cluster.kill(0), lambda: cluster.kill(1)]
    victims += [follower.kill for named in following.values() for follower in named.values()]
    with under_load(cluster, chance) as writers:
        for _ in range(kills):
            answered = sum(writer.answered for writer in writers) + chance.randrange(1, 100)
            until(lambda wanted=answered: sum(w.answered for w in writers) >= wanted, "resets are answered")  # type: ignore[misc]
            chance.choice(victims)()
    receiver.behave = lambda _: OK
    for client, named in following.items():
        wanted = ledger(cluster, client)
        assert [int(event["id"]) for event in wanted] == list(range(1, len(wanted) + 1))
        seen: dict[str, Callable[[], list[Any]]] = {name: one.events for name, one in named.items()}
        seen["webhook"] = lambda client=client: [  # type: ignore[misc]
            event for request in receiver.at(f"/{client}") for event in request.events
        ]
        for name, events in seen.items():
            last = wanted[-1]["id"]
            until(lambda e=events, last=last: any(one["id"] == last for one in e()), f"{name} has all", 60)  # type: ignore[misc]
            assert_saw_all(name, events(), wanted)
        assert all(follower.process.poll() is None for follower in named.values())


@pytest.mark.timeout(200 + 120 * ROUNDS)
@pytest.mark.parametrize("rounds_and_kills", forms(short=(1, 2), full=(ROUNDS, 6)))
def test_every_subscriber_sees_every_event_in_order_despite_kills(
    database_url: str, tmp_path: Path, chance: random.Random, rounds_and_kills: tuple[int, int]
) -> None:
    cluster = Cluster(tmp_path, database_url)
    rounds, kills = rounds_and_kills
    with ExitStack() as stack:
        stack.callback(cluster.close)
        receiver = stack.enter_context(receiving())
        cluster.start()
        given_tickets(cluster)
        for client, batch_size in zip(CLIENTS, (1, 10), strict=True):
            given_subscription(cluster, receiver, client, batch_size)
        following = {client: followers(cluster, client) for client in CLIENTS}
        for follower in [one for named in following.values() for one in named.values()]:
            stack.callback(follower.stop)
        for number in range(rounds):
            receiver.behave = moody(chance)
            one_run(cluster, receiver, following, chance, kills)
            print(f"run {number + 1} of {rounds}: {len(ledger(cluster, CLIENTS[0]))} events")  # noqa: T201
