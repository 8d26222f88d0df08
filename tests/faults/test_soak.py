"""A soak test: mixed load on two servers with faults; nothing is lost, and nothing grows."""

import os
import random
import re
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from domain.shared.subject import Subject
from tests.support.deliveries import all_over, smtp
from tests.support.evidence import open_store
from tests.support.lanes import forms
from tests.support.ledgers import ledgers
from tests.support.mail_server import OK, mail_server
from tests.support.postgres import database_unreachable
from tests.support.server import Server, until
from tests.support.stores import states_of

SECONDS = float(os.environ.get("TICKETS_TEST_SOAK_MINUTES", "0.5")) * 60
CLIENTS, USERS, CALLERS = 3, 40, 6
FAULT_EVERY_SECONDS = 6
# The growth after the warm-up: lazily loaded modules, and memory that the allocator keeps.
GROWTH = 1.35


@dataclass
class Soak:
    """Two servers of one store, and the responses of callers."""

    directory: Path
    database_url: str
    settings: dict[str, Any]
    servers: list[Server] = field(default_factory=list)
    answered: Counter[Subject] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Start both, and register the users with tickets."""
        self.servers = [Server(self.directory, self.database_url, **self.settings) for _ in range(2)]
        for subject in subjects():
            path = f"/{subject.client_ext_id}/users/{subject.user_ext_id}"
            email = {"email": f"{subject.user_ext_id}@example.com"}
            self.servers[0].client.put(path, json=email).raise_for_status()
            self.servers[0].client.post(f"{path}/ticket").raise_for_status()

    def restart(self, number: int, *, kill: bool) -> None:
        """End a server, by kill -9 or as a supervisor does, and start another in its place."""
        server = self.servers[number]
        if kill:
            server.kill()
        else:
            assert server.stop() == 0
        self.servers[number] = Server(self.directory, self.database_url, port=server.port, **self.settings)

    def resident(self) -> list[int]:
        """Return the resident memory of each server, in bytes."""
        return [psutil.Process(server.process.pid).memory_info().rss for server in self.servers]

    def close(self) -> None:
        """End all."""
        for server in self.servers:
            server.kill()


def subjects() -> list[Subject]:
    return [
        Subject(f"client-{client}", f"user-{client}-{user}")
        for client in range(CLIENTS)
        for user in range(USERS // CLIENTS)
    ]


@pytest.mark.timeout(300 + 2 * SECONDS)
@pytest.mark.parametrize("seconds", forms(short=4, full=SECONDS))
def test_under_mixed_load_with_faults_nothing_is_lost_and_nothing_grows(
    database_url: str, tmp_path: Path, request: pytest.FixtureRequest, chance: random.Random, seconds: float
) -> None:
    answers = random.Random(chance.random())
    with mail_server(lambda _step, _to: "451 later" if answers.random() < 1 / 6 else OK) as mails:
        settings = smtp(mails, TICKETS_DELIVERY_LEASE_SECONDS="2", TICKETS_LOG_FORMAT="json")
        soak = Soak(tmp_path, database_url, settings)
        over = threading.Event()
        try:
            soak.start()
            with ThreadPoolExecutor(CALLERS) as pool:
                seeds = [chance.randrange(2**32) for _ in range(CALLERS)]
                calls = [pool.submit(keep_calling, soak, over, random.Random(seed)) for seed in seeds]
                try:
                    grown = cause_faults(soak, chance, request, seconds)
                finally:
                    over.set()
                for call in calls:
                    call.result(60)
            all_over(database_url, 120)
            shown = check_metrics(soak)
        finally:
            soak.close()

    resets = sum(soak.answered.values())
    print(f"{resets} resets answered, {dict(soak.statuses)}, memory {grown}, {shown}")  # noqa: T201
    assert resets > seconds
    assert set(soak.statuses) <= {200, 503}
    assert lost(database_url, soak) == 0
    assert all(after <= before * GROWTH for before, after in grown)
    assert unexplained(tmp_path) == []


def keep_calling(soak: Soak, over: threading.Event, chance: random.Random) -> None:
    """Reset, read, verify, search and follow until the end; a reset without a response is repeated with its key."""
    users = subjects()
    client = httpx.Client(headers=soak.servers[0].client.headers, timeout=30, trust_env=False)
    with client:
        while not over.is_set():
            subject = chance.choice(users)
            path = f"/{subject.client_ext_id}/users/{subject.user_ext_id}/ticket"
            what = chance.random()
            if what < 0.5:
                key = {"Idempotency-Key": uuid.uuid4().hex}
                while not over.is_set() and call(soak, client, chance, "POST", f"{path}/reset", key) != 200:
                    time.sleep(0.05)
                if not over.is_set():
                    with soak.lock:
                        soak.answered[subject] += 1
            elif what < 0.7:
                call(soak, client, chance, "GET", path)
            elif what < 0.8:
                call(
                    soak,
                    client,
                    chance,
                    "POST",
                    f"{path}/verify",
                    json={"ticket": "k7mWq2xHvT9pRbN4cYdJ8sLf"},
                )
            elif what < 0.9:
                call(soak, client, chance, "GET", f"/{subject.client_ext_id}/events?after=0&limit=100")
            else:
                call(soak, client, chance, "GET", f"{path}/deliveries")


def call(
    soak: Soak,
    client: httpx.Client,
    chance: random.Random,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    json: dict[str, str] | None = None,
) -> int:
    """Call one of the servers and return the status; 0: it is down."""
    base = chance.choice(soak.servers).client.base_url
    try:
        answer = client.request(method, f"{base}".rstrip("/") + path, headers=headers, json=json)
    except httpx.TransportError:
        return 0
    assert answer.status_code != 503 or "retry-after" in answer.headers
    with soak.lock:
        soak.statuses[answer.status_code] += 1
    return answer.status_code


def cause_faults(
    soak: Soak, chance: random.Random, request: pytest.FixtureRequest, seconds: float
) -> list[tuple[int, int]]:
    """Kill, stop and disconnect repeatedly. Returns the memory of the surviving server, warm and at the end."""
    end = time.monotonic() + seconds
    warm = None
    while time.monotonic() < end:
        threading.Event().wait(min(FAULT_EVERY_SECONDS, seconds / 3))
        if warm is None and time.monotonic() > end - seconds * 3 / 4:
            warm = soak.resident()[0]
        fault = chance.choice(["kill", "stop", "cut off"])
        if fault == "cut off" and soak.database_url.startswith("postgres"):
            with database_unreachable(request.getfixturevalue("postgres_server"), soak.database_url):
                threading.Event().wait(0.5)
        else:
            soak.restart(1, kill=fault == "kill")
    return [(warm or soak.resident()[0], soak.resident()[0])]


def check_metrics(soak: Soak) -> str:
    """Return the server's metrics after it has become idle."""
    base = f"http://127.0.0.1:{soak.servers[0].port}"
    until(lambda: httpx.get(f"{base}/readyz", trust_env=False).status_code == 200, "it is ready again")
    text = httpx.get(f"{base}/metrics", trust_env=False).text
    assert 'tickets_outbox_tickets{standing="queued"} 0.0' in text
    return next(line for line in text.splitlines() if line.startswith("tickets_batches_failed_total"))


def lost(database_url: str, soak: Soak) -> int:
    """Return the number of answered resets missing in the event log, and check that positions are dense."""
    for events in ledgers(database_url).values():
        assert [int(re.findall(rb'"id":"(\d+)"', event)[0]) for event in events] == list(
            range(1, len(events) + 1)
        )
    store = open_store(database_url)
    try:
        rows = states_of(store, subjects())
    finally:
        store.close()
    return sum(max(0, count - rows[subject].reset_count) for subject, count in soak.answered.items())


def unexplained(directory: Path) -> list[str]:
    """Return the log lines with a traceback."""
    lines = [line for path in directory.glob("server-*.log") for line in path.read_text().splitlines()]
    return [line[:500] for line in lines if "Traceback" in line]
