"""A store that was put back, on both stores: who saw what was lost is told so, and everybody else goes on."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from application.feed.feed import Batch, FeedEvent, FeedQuery, joined, position_before, read_feed
from application.feed.publish import Backoff, publish
from application.record.eras import EventId
from application.shared.errors import PositionNotFound
from application.subscriptions.security_event import event_of, jti_of
from domain.tickets.ticket_credential import stream_id
from interface.outbound.files.cursor_file import open_cursor
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.evidence import open_store
from tests.support.fakes import NOW, SUBJECT, FakeRandomness
from tests.support.service import service_over

CLIENT = SUBJECT.client_ext_id
FIRST, SECOND = "aaaaaaaa", "bbbbbbbb"


@pytest.fixture
def store(database_url: str) -> Iterator[SqliteStore | PostgresStore]:
    """A store with three events, that was put back, and has got two more since."""
    store = open_store(database_url)
    with service_over(store) as service:
        service.register()
        service.create()
        service.regenerate()
        service.regenerate()
        store.begin_era(FIRST, NOW)
        service.regenerate()
        service.delete()
    yield store
    store.close()


def feed(store: SqliteStore | PostgresStore, client: str = CLIENT, *types: str) -> list[tuple[str, str]]:
    query = FeedQuery(client, types=frozenset(types) or None)
    events = read_feed(query, 100, ledger=store, origin="tickets")
    found = map(json.loads, joined(query, Batch(0, events, 0)))
    return [(event["previous"], event["id"]) for event in found]


def test_what_was_written_since_carries_the_era_and_what_was_before_is_as_it_was(
    store: SqliteStore | PostgresStore,
) -> None:
    assert feed(store) == [
        ("0", "1"),
        ("1", "2"),
        ("2", "3"),
        ("3", f"4~{FIRST}"),
        (f"4~{FIRST}", f"5~{FIRST}"),
    ]
    assert feed(store, CLIENT, "TicketCreated", "TicketDeleted") == [("0", "1"), ("1", f"5~{FIRST}")]


def test_a_client_that_came_since_is_of_the_era_from_its_first_event(
    store: SqliteStore | PostgresStore,
) -> None:
    other = SUBJECT._replace(client_ext_id="client-9")
    with service_over(store) as service:
        service.register(subject=other)
        service.create(subject=other)
        store.begin_era(SECOND, NOW)
        service.regenerate(subject=other)

    assert feed(store, "client-9") == [("0", f"1~{FIRST}"), (f"1~{FIRST}", f"2~{SECOND}")]
    assert [event for _, event in feed(store)][-1] == f"5~{FIRST}"


@pytest.mark.parametrize(
    ("after", "era", "said"),
    [
        (
            4,
            "",
            "Event 4 is not in the ledger of the client any more: the ledger was put back. What you saw up to position 3",
        ),
        (5, SECOND, "Event 5~bbbbbbbb is not in the ledger"),
        (3, FIRST, "Event 3~aaaaaaaa is not in the ledger"),
        (6, "", "ends at position 5"),
        (6, FIRST, "ends at position 5"),
    ],
)
def test_who_saw_what_was_lost_is_told(
    store: SqliteStore | PostgresStore, after: int, era: str, said: str
) -> None:
    with pytest.raises(PositionNotFound, match=said):
        position_before(FeedQuery(CLIENT, after, era=era), ledger=store)


@pytest.mark.parametrize(("after", "era"), [(0, ""), (3, ""), (4, FIRST), (5, FIRST), (5, None)])
def test_who_saw_only_what_is_there_goes_on(
    store: SqliteStore | PostgresStore, after: int, era: str | None
) -> None:
    assert position_before(FeedQuery(CLIENT, after, era=era), ledger=store) == after


def test_the_token_of_a_lost_event_is_not_that_of_the_one_in_its_place(
    store: SqliteStore | PostgresStore,
) -> None:
    *_, event, _ = read_feed(FeedQuery(CLIENT), 100, ledger=store, origin="tickets")

    assert jti_of("siem", event.id) == f"siem:4~{FIRST}"
    assert event_of(f"siem:4~{FIRST}", "siem") == event.id
    assert event_of("siem:4", "siem") != event.id


def test_a_ticket_that_is_minted_since_is_not_delivered_as_the_one_that_was_lost(database_url: str) -> None:
    """Else a mail server that knows the Message-ID, or a spool that has the file, would take it for the lost one."""
    store = open_store(database_url)
    with service_over(store) as service:
        service.register()
        service.create()
        service.clock.advance(timedelta(hours=1))
        store.begin_era(FIRST, service.clock.now)
        service.clock.advance(timedelta(hours=1))
        service.regenerate()
        until = service.clock.now + timedelta(minutes=1)
        waiting = store.take("lease", service.clock.now, until, 10)
    store.close()

    stream = stream_id(*SUBJECT)
    assert {found.delivery_id for found in waiting} == {f"{stream}-1", f"{stream}-2~{FIRST}"}


class FakeBroker:
    """Holds what was published; it knows its newest event, or leaves that to the cursor."""

    def __init__(self, newest: EventId | None, stop: asyncio.Event) -> None:
        self.known = newest
        self.stop = stop
        self.published: list[str] = []

    async def connect(self) -> None:
        pass

    async def newest(self, _: str) -> EventId | None:
        return self.known

    async def publish(self, _: str, events: Sequence[FeedEvent]) -> None:
        self.published += [str(event.id) for event in events]
        if self.published[-1] == f"5~{FIRST}":
            self.stop.set()

    async def close(self) -> None:
        pass


def published_from(store: SqliteStore | PostgresStore, newest: EventId | None, cursor: Path) -> list[str]:
    """Publish from what the broker, or else the cursor, has."""

    async def run() -> list[str]:
        stop = asyncio.Event()
        broker = FakeBroker(newest, stop)
        await publish(
            store=store,
            ledger=store,
            broker=broker,
            open_cursor=lambda: open_cursor(cursor, "broker"),
            target="broker",
            origin="tickets",
            clients=[CLIENT],
            backoff=Backoff(stop, FakeRandomness()),
        )
        return broker.published

    return asyncio.run(run())


def test_a_publisher_goes_on_from_what_is_still_there(
    store: SqliteStore | PostgresStore, tmp_path: Path
) -> None:
    cursor = tmp_path / "cursor.json"

    assert published_from(store, EventId(3), cursor) == [f"4~{FIRST}", f"5~{FIRST}"]
    assert published_from(store, EventId(4, FIRST), cursor) == [f"5~{FIRST}"]
    cursor.write_text(json.dumps({"of": "broker", "positions": {CLIENT: f"4~{FIRST}"}}))
    assert published_from(store, None, cursor) == [f"5~{FIRST}"]
    assert json.loads(cursor.read_text())["positions"] == {CLIENT: f"5~{FIRST}"}


@pytest.mark.parametrize("newest", [EventId(4), EventId(5, SECOND), EventId(6)])
def test_a_publisher_that_published_what_was_lost_publishes_nothing_more(
    store: SqliteStore | PostgresStore, tmp_path: Path, newest: EventId
) -> None:
    cursor = tmp_path / "cursor.json"
    cursor.write_text(
        json.dumps({"of": "broker", "positions": {CLIENT: str(newest) if newest.era else newest[0]}})
    )
    for known in (newest, None):
        with pytest.raises(PositionNotFound, match=f"was published up to position {newest}"):
            published_from(store, known, cursor)
