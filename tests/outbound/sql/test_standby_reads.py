"""Reads from a real standby, never less than returned before, and from the primary if it lags or dies."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import aclosing, closing
from functools import partial
from pathlib import Path

import psycopg
import pytest

from application.feed.feed import FeedQuery
from application.feed.live_feed import LiveFeed
from application.record.history import read_history
from application.record.ledger import HistoryQuery
from application.record.past_states import PastStates
from application.shared.errors import StoreUnavailable
from application.tickets.find_tickets import TicketQuery
from interface.composition.register import TABLES
from interface.outbound.sql import standby_reads
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.standby_reads import StandbyReads
from tests.support.fakes import NOW, SUBJECT
from tests.support.postgres import fresh_database
from tests.support.server import until
from tests.support.service import Service, service_over
from tests.support.standby import Standby, standing_by
from tests.support.stores import history_of, state_of
from tests.support.web import BASE, web_over

CLIENT = SUBJECT.client_ext_id
NEVER = 1000.0


@pytest.fixture(scope="module")
def standby() -> Iterator[Standby]:
    with standing_by() as standby:
        yield standby


@pytest.fixture
def urls(standby: Standby) -> Iterator[tuple[str, str]]:
    with standby.fresh_database() as urls:
        yield urls


@pytest.fixture
def reads(urls: tuple[str, str], standby: Standby) -> Iterator[StandbyReads]:
    with closing(PostgresStore(urls[0], TABLES)) as primary, closing(StandbyReads(primary, urls[1])) as reads:
        standby.catch_up()
        yield reads


@pytest.fixture
def service(reads: StandbyReads) -> Iterator[Service]:
    """A service that has reset a ticket twice; the standby has replayed that."""
    with service_over(reads) as service:
        service.register()
        service.create()
        for _ in range(2):
            service.regenerate()
        yield service


def versions(reads: StandbyReads) -> list[int]:
    """Return the newest version of the ticket by each way of reading."""
    [row] = reads.find_tickets(TicketQuery(CLIENT, NOW), None, 10)
    return [
        row.version,
        history_of(reads, SUBJECT)[-1].originator_version,
        read_history(SUBJECT, 0, 100, ledger=reads, kept=PastStates())[0][-1]["version"],
        reads.search(HistoryQuery(CLIENT), 0, 100)[-1].version,
        reads.entries(CLIENT, 0, 100)[-1].version,
    ]


def test_searches_histories_and_the_feed_are_read_from_the_standby(
    reads: StandbyReads, service: Service, standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby_reads, "_CHECK_INTERVAL_SECONDS", NEVER)
    standby.catch_up()
    assert versions(reads) == [3] * 5
    with standby.replay_paused():
        service.regenerate()
        stale = versions(reads)
        there = state_of(reads, SUBJECT).version
    standby.catch_up()

    assert stale == [3] * 5
    assert there == 4
    assert versions(reads) == [4] * 5


def test_a_lagging_standby_is_not_read_until_it_has_caught_up(
    reads: StandbyReads,
    service: Service,
    standby: Standby,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(standby_reads, "_CHECK_INTERVAL_SECONDS", 0.1)
    standby.catch_up()
    with standby.replay_paused():
        service.regenerate()
        until(lambda: versions(reads) == [4] * 5, "the primary is read")
    until(lambda: versions(reads) and "from the standby again" in caplog.text, "the standby is read")

    assert "instead of the standby for now: it is behind" in caplog.text


def test_a_start_does_not_wait_until_the_standby_is_migrated(
    urls: tuple[str, str], standby: Standby, caplog: pytest.LogCaptureFixture
) -> None:
    standby.catch_up()
    with (
        standby.replay_paused(),
        closing(PostgresStore(urls[0], TABLES)) as primary,
        closing(StandbyReads(primary, urls[1])) as reads,
        service_over(reads) as service,
    ):
        service.register()
        service.create()

        assert versions(reads) == [1] * 5
    assert "reading from the primary instead" in caplog.text


def test_a_start_does_not_need_the_standby(urls: tuple[str, str], tmp_path: Path) -> None:
    nowhere = f"postgresql://postgres@/postgres?host={tmp_path}"
    with (
        closing(PostgresStore(urls[0], TABLES)) as primary,
        closing(StandbyReads(primary, nowhere)) as reads,
        service_over(reads) as service,
    ):
        service.register()
        service.create()

        assert versions(reads) == [1] * 5


def test_reads_survive_the_loss_of_the_standby(
    reads: StandbyReads,
    service: Service,
    standby: Standby,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(standby_reads, "_CHECK_INTERVAL_SECONDS", 0.5)
    standby.catch_up()
    versions(reads)
    standby.kill()
    try:
        service.regenerate()
        assert versions(reads) == [4] * 5
        assert reads.sizes_of([CLIENT]) == {CLIENT: 5}
    finally:
        standby.start()
    until(lambda: versions(reads) and "from the standby again" in caplog.text, "the standby is read")

    assert versions(reads) == [4] * 5


def test_an_unreadable_standby_is_not_used_at_the_start(
    standby: Standby, caplog: pytest.LogCaptureFixture
) -> None:
    with fresh_database(standby.primary_url) as url, standby.replay_paused():
        behind = f"{url.partition('?')[0]}?host={standby.directory}"
        for read_url in (behind, "postgresql://postgres@/postgres?host=/nowhere"):
            with closing(PostgresStore(url)) as primary, closing(StandbyReads(primary, read_url)) as reads:
                assert list(reads.search(HistoryQuery(CLIENT), 0, 1)) == []

    assert caplog.text.count("reading from the primary instead") == 2


def test_a_start_succeeds_before_the_standby_has_the_schema(standby: Standby) -> None:
    with standby.fresh_database() as (url, read_url):
        with standby.replay_paused(), closing(PostgresStore(url)) as primary:
            reads = StandbyReads(primary, read_url)
            assert list(reads.search(HistoryQuery(CLIENT), 0, 1)) == []
        reads.close()


def test_a_ticket_missing_on_the_standby_is_read_from_the_primary(
    reads: StandbyReads, standby: Standby, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby_reads, "_CHECK_INTERVAL_SECONDS", NEVER)
    feed, ticket = f"{BASE}/{CLIENT}/events", f"{BASE}/{CLIENT}/users/{SUBJECT.user_ext_id}/ticket"
    with web_over(reads, tmp_path) as web:
        reads.sizes_of([])
        with standby.replay_paused():
            web.given_a_ticket()
            answers = [
                web.client.get(url)
                for url in (f"{feed}?after=2", f"{feed}?after=2&type=TicketCreated", f"{ticket}/history")
            ]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert [len(answer.json()) for answer in answers[:2]] == [0, 0]


def test_a_standby_behind_returned_positions_is_not_read(
    reads: StandbyReads, service: Service, standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with several standbys: the next read can reach a different one than the last read.
    monkeypatch.setattr(reads, "_is_usable", lambda: True)
    standby.catch_up()
    with standby.replay_paused():
        service.regenerate()
        before = reads.entries(CLIENT, 0, 100)
        reads.sizes_of([CLIENT])
        after = [
            reads.entries(CLIENT, 0, 100)[-1].position,
            reads.entries_of_topics(CLIENT, ["TicketRegenerated"], 0, 100)[-1].position,
            reads.newest_of_topics(CLIENT, ["TicketRegenerated"], 5),
        ]

    assert before[-1].position == 4
    assert after == [5, 5, 5]


class Followers:
    """Follow a feed on one event loop: all events, and one type of events."""

    def __init__(self, live: LiveFeed) -> None:
        self.live = live
        self.seen: dict[str, list[tuple[int, int]]] = {"all": [], "resets": []}

    def have_seen(self, position: int) -> bool:
        return all(seen and seen[-1][0] >= position for seen in self.seen.values())

    async def run(self, end: int) -> None:
        types = frozenset({"TicketRegenerated"})
        await asyncio.gather(
            self.follow("all", FeedQuery(CLIENT), end),
            self.follow("resets", FeedQuery(CLIENT, 0, types), end),
        )
        await self.live.close()

    async def follow(self, name: str, query: FeedQuery, end: int) -> None:
        before = await self.live.before(query)
        async with aclosing(self.live.follow(query, before, limit=3)) as batches:
            async for batch in batches:
                self.seen[name] += [
                    (event.position, previous) for event, previous in batch.with_previous(query)
                ]
                if self.seen[name] and self.seen[name][-1][0] >= end:
                    return


def test_followers_miss_no_event_while_reads_alternate_between_the_servers(
    reads: StandbyReads, service: Service, standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby_reads, "_CHECK_INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(standby_reads, "_CATCH_UP_SECONDS", 0.02)
    end = 120
    followers = Followers(LiveFeed(reads, "tickets"))
    following = threading.Thread(target=lambda: asyncio.run(followers.run(end)))
    following.start()
    for number in range(5, end + 1):
        if number % 20 == 0:
            with standby.replay_paused():
                for _ in range(3):
                    service.regenerate()
                until(partial(followers.have_seen, number), "the primary is read")
        else:
            service.regenerate()
    following.join(30)

    assert not following.is_alive()
    positions = [position for position, _ in followers.seen["all"]]
    assert positions == list(range(1, positions[-1] + 1))
    resets = followers.seen["resets"]
    assert [position for position, _ in resets] == list(range(3, resets[-1][0] + 1))
    assert [shown for _, shown in resets[1:]] == [position for position, _ in resets[:-1]]


def test_a_commit_whose_wait_for_the_standby_is_cancelled_is_not_acknowledged(
    service: Service, standby: Standby
) -> None:
    failures: list[BaseException] = []

    def reset() -> None:
        try:
            service.regenerate(command_id="the-command", retryable=True)
        except StoreUnavailable as error:
            failures.append(error)

    with psycopg.connect(standby.primary_url, autocommit=True) as primary:
        synchronous(primary, "absent")
        try:
            resetting = threading.Thread(target=reset)
            resetting.start()
            until(lambda: primary.execute(_WAITING).fetchall(), "the commit waits")
            primary.execute(f"SELECT pg_cancel_backend(pid) FROM ({_WAITING}) AS waiting".encode())
            resetting.join(10)
        finally:
            synchronous(primary, "")
    again = service.regenerate(command_id="the-command", retryable=True)

    assert ["not replicated" in str(error) for error in failures] == [True]
    assert json.loads(again.body)["version"] == 4


_WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


def synchronous(primary: psycopg.Connection, names: str) -> None:
    primary.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'".encode())
    primary.execute("SELECT pg_reload_conf()")
    until(lambda: primary.execute("SHOW synchronous_standby_names").fetchone() == (names,), "it is set")


def test_connections_to_a_former_primary_are_closed(service: Service, reads: StandbyReads) -> None:
    with reads._session() as session:
        assert session._connection
        session._connection.execute("SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable):
        service.regenerate()

    service.regenerate()

    assert state_of(reads, SUBJECT).version == 4
