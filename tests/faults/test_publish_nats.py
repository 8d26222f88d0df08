"""Publishing to a real NATS server, with everything killed in the middle: each event once, in order, without a gap."""

import asyncio
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from nats.js import JetStreamContext
from nats.js.api import StreamConfig

from application.feed.broker import OutOfSync
from application.feed.feed import FeedQuery, read_feed
from interface.outbound.brokers.broker_url import parse_broker_url
from interface.outbound.brokers.nats_broker import NatsBroker
from tests.faults.test_crashes import Caller, given_tickets
from tests.support.certificates import self_signed
from tests.support.command import Command, publishing
from tests.support.lanes import forms
from tests.support.ledgers import PUBLIC_URL, given_ticket, ledgers, opened, reset, size
from tests.support.nats import NatsServer, nats_server, needs_nats_server
from tests.support.postgres import database_unreachable
from tests.support.server import serving

pytestmark = needs_nats_server

ROUNDS = int(os.environ.get("TICKETS_TEST_PUBLISHER_CRASHES", "5"))
ODD_CLIENTS = ["a.b *>ü/%25 漢", "$JS.~" + "😀" * 45]
CALLERS = 4


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path) as server:
        yield server


@contextmanager
def resetting(directory: Path, database_url: str) -> Iterator[None]:
    """Reset the tickets of two users by a real server repeatedly until the end."""
    callers = [Caller(f"user-{number % 2}") for number in range(CALLERS)]
    with ThreadPoolExecutor(CALLERS) as pool, serving(directory, database_url) as server:
        given_tickets(server, ["user-0", "user-1"])
        ends = [pool.submit(caller.reset_until_disconnected, server) for caller in callers]
        yield
        server.kill()
        for end in ends:
            end.result(30)


def assert_all_published(database_url: str, broker: NatsServer, publisher: Command) -> None:
    """The stream finally equals the ledgers: complete, in order, without duplicates."""
    broker.has(size(database_url))
    publisher.stop_publishing()
    assert broker.messages() == ledgers(database_url)


def test_clients_of_any_name_are_published_once_in_order_and_new_ones_are_found(
    database_url: str, tmp_path: Path, broker: NatsServer
) -> None:
    first, second = ODD_CLIENTS
    given_ticket(database_url, first)
    reset(database_url, first, 150)
    publisher = publishing(tmp_path, database_url, broker.url)
    broker.has(152)
    given_ticket(database_url, second)
    reset(database_url, second, 20)

    assert_all_published(database_url, broker, publisher)
    assert broker.messages().keys() == set(ODD_CLIENTS)


def test_only_the_named_clients_are_published(sqlite_url: str, tmp_path: Path, broker: NatsServer) -> None:
    for client in ("client-1", "client-2", "client-3"):
        given_ticket(sqlite_url, client)
    arguments = ("publish", "--to", broker.url, "--client", "client-1", "--client", "client-3")
    publisher = Command(tmp_path, *arguments, TICKETS_DATABASE_URL=sqlite_url)
    broker.has(4)
    publisher.stop_publishing()

    assert broker.messages().keys() == {"client-1", "client-3"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rounds", forms(short=1, full=ROUNDS))
def test_kill_9_of_the_publisher_under_load_leaves_no_gap_and_no_double(
    database_url: str, tmp_path: Path, broker: NatsServer, chance: random.Random, rounds: int
) -> None:
    with resetting(tmp_path, database_url):
        for _ in range(rounds):
            publisher = publishing(tmp_path, database_url, broker.url)
            broker.has(broker.size() + chance.randrange(1, 200))
            publisher.kill()
    assert_all_published(database_url, broker, publishing(tmp_path, database_url, broker.url))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rounds", forms(short=1, full=ROUNDS))
def test_kill_9_of_the_broker_under_load_leaves_no_gap_and_no_double(
    sqlite_url: str, tmp_path: Path, broker: NatsServer, chance: random.Random, rounds: int
) -> None:
    publisher = publishing(tmp_path, sqlite_url, broker.url)
    with resetting(tmp_path, sqlite_url):
        for _ in range(rounds):
            broker.has(broker.size() + chance.randrange(1, 200))
            broker.kill()
            broker.start()
    assert_all_published(sqlite_url, broker, publisher)


def test_a_second_publisher_waits_and_takes_over(
    database_url: str, tmp_path: Path, broker: NatsServer
) -> None:
    given_ticket(database_url, "client-1")
    first = publishing(tmp_path, database_url, broker.url)
    broker.has(1)
    second = publishing(tmp_path, database_url, broker.url)
    second.reported("another process publishes")
    first.kill()
    reset(database_url, "client-1", 5)

    assert_all_published(database_url, broker, second)


def test_a_publisher_without_its_lease_stops(postgres_url: str, tmp_path: Path, broker: NatsServer) -> None:
    given_ticket(postgres_url, "client-1")
    first = publishing(tmp_path, postgres_url, broker.url)
    broker.has(1)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON database = pg_database.oid"
            " WHERE locktype = 'advisory' AND datname = current_database()"
        )
    first.reported("lost the lease")
    reset(postgres_url, "client-1", 5)

    assert_all_published(postgres_url, broker, first)


def test_the_publisher_waits_for_an_unavailable_store(
    postgres_url: str, postgres_server: str, tmp_path: Path, broker: NatsServer
) -> None:
    given_ticket(postgres_url, "client-1")
    publisher = publishing(tmp_path, postgres_url, broker.url)
    broker.has(1)
    with database_unreachable(postgres_server, postgres_url):
        publisher.reported("the PostgreSQL store failed")
    reset(postgres_url, "client-1", 5)

    assert_all_published(postgres_url, broker, publisher)


@pytest.mark.parametrize("purged", ["tickets.>", "tickets.client-1.>"])
def test_purged_events_are_not_republished_but_a_new_stream_gets_all_events(
    sqlite_url: str, tmp_path: Path, broker: NatsServer, purged: str
) -> None:
    given_ticket(sqlite_url, "client-0")
    publish_all(tmp_path, sqlite_url, broker, 2)
    given_ticket(sqlite_url, "client-1")
    reset(sqlite_url, "client-1", 2)
    publish_all(tmp_path, sqlite_url, broker, 6)

    broker.ask(lambda jetstream: jetstream.purge_stream("TICKETS", subject=purged))
    left = broker.size()
    reset(sqlite_url, "client-1")
    publish_all(tmp_path, sqlite_url, broker, left + 1)
    assert broker.messages()["client-1"] == ledgers(sqlite_url)["client-1"][4:]

    broker.ask(lambda jetstream: jetstream.delete_stream("TICKETS"))
    publish_all(tmp_path, sqlite_url, broker, 7)
    assert broker.messages() == ledgers(sqlite_url)


def publish_all(directory: Path, database_url: str, broker: NatsServer, count: int) -> None:
    publisher = publishing(directory, database_url, broker.url)
    broker.has(count)
    publisher.stop_publishing()


def test_a_server_that_requires_tls_and_a_password_gets_both(sqlite_url: str, tmp_path: Path) -> None:
    pem = str(self_signed(tmp_path / "server.pem"))
    secured = ("--tls", "--tlscert", pem, "--tlskey", pem, "--user", "bob", "--pass", "geh:eim@")
    with nats_server(tmp_path, *secured) as broker:
        for password, words in (("wrong", "Authorization Violation"), ("geh%3Aeim%40", "publishing to")):
            (tmp_path / "url").write_text(f"tls://bob:{password}@127.0.0.1:{broker.port}")
            publisher = Command(
                tmp_path, "publish", "--to", "@url", TICKETS_DATABASE_URL=sqlite_url, SSL_CERT_FILE=pem
            )
            publisher.reported(words)
            assert publisher.stop() == 0
            assert password not in publisher.err.read_text()


def test_a_restored_ledger_stops_the_publisher(sqlite_url: str, tmp_path: Path, broker: NatsServer) -> None:
    given_ticket(sqlite_url, "client-1")
    reset(sqlite_url, "client-1")
    publish_all(tmp_path, sqlite_url, broker, 3)
    older = f"sqlite:///{tmp_path}/older.db"
    given_ticket(older, "client-1")

    publisher = publishing(tmp_path, older, broker.url)

    assert publisher.wait() == 2
    publisher.reported("'client-1' was published up to position 3, but its ledger ends at 2")


def test_the_broker_rejects_a_duplicate_even_after_the_duplicate_window(
    sqlite_url: str, broker: NatsServer
) -> None:
    """From a publisher that was delayed for longer than the duplicate window, and replaced meanwhile."""
    given_ticket(sqlite_url, "client-1")
    reset(sqlite_url, "client-1", 2)
    with opened(sqlite_url) as store:
        events = read_feed(FeedQuery("client-1"), 4, ledger=store, origin="tickets", public_url=PUBLIC_URL)

    async def make_forgetful(jetstream: JetStreamContext) -> None:
        await jetstream.add_stream(StreamConfig(name="TICKETS", subjects=["tickets.>"], duplicate_window=0.1))

    async def publish_repeatedly(delayed: NatsBroker) -> None:
        while True:
            await delayed.publish("client-1", events[2:3])

    async def publish_beside_each_other() -> None:
        delayed, other = (NatsBroker(parse_broker_url(broker.url), "TICKETS", "tickets") for _ in range(2))
        await delayed.connect()
        await delayed.publish("client-1", events[:2])
        await other.connect()
        assert await other.newest("client-1") == (2, "")
        await other.publish("client-1", events[2:])
        with pytest.raises(OutOfSync):
            await asyncio.wait_for(publish_repeatedly(delayed), 30)
        assert await delayed.newest("client-1") == (4, "")
        await delayed.close()
        await other.close()

    broker.ask(make_forgetful)
    asyncio.run(publish_beside_each_other())

    assert broker.messages() == ledgers(sqlite_url)
