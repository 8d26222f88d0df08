"""A PostgreSQL transaction with assigned positions stays open: no reader misses its events."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import psycopg
import pytest

from application.delivery.enqueue import enqueue_delivery
from application.tickets.create_ticket import CreateTicket, create_ticket
from application.transaction.records import Changes, LoadedState
from application.transaction.unit_of_work import UnitOfWork
from application.users.records import USERS
from domain.shared.subject import Subject
from domain.users.recipient import Recipient
from interface.composition.register import TABLES
from interface.outbound.sql.codec import JsonMapper
from interface.outbound.sql.postgres_commit import commit_steps
from interface.outbound.sql.tables import Tables
from tests.support.fakes import NOW, FakeClock, FakeRandomness, FakeSealer
from tests.support.lanes import forms
from tests.support.server import NO_DELIVERY, PATIENCE_SECONDS, Server, serving
from tests.support.service import command

HELD, OTHER = "client-held", "client-other"


def given_a_ticket(server: Server, client: str) -> str:
    user = f"/{client}/users/user-0"
    server.client.put(user, json={"email": "u@example.com"}).raise_for_status()
    server.client.post(f"{user}/ticket").raise_for_status()
    return f"{user}/ticket/reset"


@contextmanager
def held_open(database_url: str) -> Iterator[None]:
    """Create a ticket in a transaction that commits only at the end."""
    subject = Subject(HELD, "user-held")
    recipient = Recipient(
        **subject._asdict(),
        email="h@example.com",
        name=None,
        language=None,
        created=NOW,
        last_modified=NOW,
        version=1,
    )
    loaded = LoadedState()
    loaded.put(USERS, subject, recipient)
    unit = UnitOfWork(loaded)
    create_ticket(
        command(CreateTicket, subject=subject),
        unit,
        clock=FakeClock(),
        randomness=FakeRandomness(),
        enqueue=partial(enqueue_delivery, sealer=FakeSealer()),
        max_daily_deliveries=20,
    )
    changes: Changes = unit.changes
    stored = [JsonMapper().to_stored_event(event) for event in changes.events]
    with psycopg.connect(database_url, cursor_factory=psycopg.RawCursor) as connection:
        for statement, arrays in commit_steps(stored, changes, Tables(TABLES)):
            connection.execute(statement.text, list(map(list, arrays)))
        yield


def read_until(server: Server, client: str, users: set[str], resets: int) -> list[tuple[int, str]]:
    """Follow a client until this many resets and an event of each of these users have arrived."""
    seen: list[tuple[int, str]] = []
    with server.client.stream("GET", f"/{client}/events/stream") as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                event = json.loads(line[6:])
                seen.append((int(event["id"]), event["subject"]))
                users.discard(event["subject"])
                resets -= event["type"] == "TicketRegenerated"
                if not users and resets <= 0:
                    return seen
    raise AssertionError("the stream ended")


# The full form is longer than a commit waits for a lock.
@pytest.mark.parametrize("held_seconds", forms(short=1, full=10))
def test_no_reader_misses_the_events_of_a_long_transaction(
    postgres_url: str, tmp_path: Path, held_seconds: float
) -> None:
    with (
        serving(tmp_path, postgres_url, **NO_DELIVERY) as server,
        serving(tmp_path, postgres_url, **NO_DELIVERY) as writer,
        ThreadPoolExecutor() as pool,
    ):
        resets = {client: given_a_ticket(server, client) for client in (HELD, OTHER)}
        reads = [
            pool.submit(read_until, server, HELD, {"user-held"}, 1),
            pool.submit(read_until, server, OTHER, set(), 20),
        ]
        with held_open(postgres_url):
            held = pool.submit(reset_until_it_happens, server, resets[HELD])
            # Other clients are not affected: each of these gets a response while the transaction is open.
            statuses = [writer.client.post(resets[OTHER]).status_code for _ in range(20)]
            others = reads[1].result(PATIENCE_SECONDS)
            threading.Event().wait(held_seconds)
            assert not reads[0].done()
            tried = writer.client.get(f"/{HELD}/events").json()
        held.result(PATIENCE_SECONDS)
        mine = reads[0].result(PATIENCE_SECONDS)

    assert statuses == [200] * 20
    assert [position for position, _ in others] == list(range(1, 23))
    assert [int(event["id"]) for event in tried] == [1, 2]
    assert [position for position, _ in mine] == [1, 2, 3, 4]
    assert [user for _, user in mine] == ["user-0", "user-0", "user-held", "user-0"]


def reset_until_it_happens(server: Server, path: str) -> None:
    """Repeat a reset with its key while the client's ledger is locked."""
    with httpx.Client(headers=server.client.headers, base_url=server.client.base_url, timeout=30) as client:
        while True:
            answer = client.post(path, headers={"Idempotency-Key": "held"})
            if answer.status_code == httpx.codes.OK:
                return
            assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
            assert answer.headers["Retry-After"]
