"""A restored store, on both stores: readers of lost events get an error, all others continue."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from application.feed.backoff import Backoff
from application.feed.feed import Batch, FeedQuery, position_before, read_feed
from application.feed.feed_event import FeedEvent
from application.feed.formats import CLOUD_EVENTS
from application.feed.publish import publish
from application.record.eras import EventId, PositionNotFound
from application.subscriptions.security_event import event_of, jti_of
from domain.record.installation import INSTALLATION
from domain.tickets.events import stream_id
from interface.outbound.files.cursor_file import open_cursor
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.evidence import open_store
from tests.support.fakes import NOW, SUBJECT, FakeRandomness
from tests.support.service import service_over
from tests.support.stores import begin_era

CLIENT = SUBJECT.client_ext_id
FIRST, SECOND = "aaaaaaaa", "bbbbbbbb"


@pytest.fixture
def store(database_url: str) -> Iterator[SqliteStore | PostgresStore]:
    """A store with three events that was restored and then got two more."""
    store = open_store(database_url)
    with service_over(store) as service:
        service.register()
        service.create()
        service.regenerate()
        begin_era(store, FIRST, NOW)
        service.regenerate()
        service.delete()
    yield store
    store.close()


def feed(store: SqliteStore | PostgresStore, client: str = CLIENT, *types: str) -> list[tuple[str, str]]:
    query = FeedQuery(client, types=frozenset(types) or None)
    events = read_feed(query, 100, ledger=store, origin="tickets")
    found = json.loads(CLOUD_EVENTS.encode_page(query, Batch(0, events, 0)))
    return [(event["previous"], event["id"]) for event in found]


def test_events_after_a_restore_carry_the_era_and_earlier_ones_do_not(
    store: SqliteStore | PostgresStore,
) -> None:
    assert feed(store) == [
        ("0", "1"),
        ("1", "2"),
        ("2", "3"),
        ("3", f"4~{FIRST}"),
        (f"4~{FIRST}", f"5~{FIRST}"),
    ]
    assert feed(store, CLIENT, "TicketCreated", "TicketDeleted") == [("0", "2"), ("2", f"5~{FIRST}")]


def test_a_client_created_after_a_restore_has_the_era_from_its_first_event(
    store: SqliteStore | PostgresStore,
) -> None:
    other = SUBJECT._replace(client_ext_id="client-9")
    with service_over(store) as service:
        service.register(subject=other)
        service.create(subject=other)
        begin_era(store, SECOND, NOW)
        service.regenerate(subject=other)

    assert feed(store, "client-9") == [
        ("0", f"1~{FIRST}"),
        (f"1~{FIRST}", f"2~{FIRST}"),
        (f"2~{FIRST}", f"3~{SECOND}"),
    ]
    assert [event for _, event in feed(store)][-1] == f"5~{FIRST}"


@pytest.mark.parametrize(
    ("after", "era", "reported"),
    [
        (
            4,
            "",
            "Event 4 is no longer in the ledger of the client: the ledger was restored. Your events up to position 3",
        ),
        (5, SECOND, "Event 5~bbbbbbbb is no longer in the ledger"),
        (3, FIRST, "Event 3~aaaaaaaa is no longer in the ledger"),
        (6, "", "ends at position 5"),
        (6, FIRST, "ends at position 5"),
    ],
)
def test_a_reader_of_lost_events_gets_an_error(
    store: SqliteStore | PostgresStore, after: int, era: str, reported: str
) -> None:
    with pytest.raises(PositionNotFound, match=reported):
        position_before(FeedQuery(CLIENT, after, era=era), ledger=store)


@pytest.mark.parametrize(("after", "era"), [(0, ""), (3, ""), (4, FIRST), (5, FIRST), (5, None)])
def test_a_reader_of_kept_events_continues(
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


def test_a_new_ticket_has_another_delivery_id_than_the_lost_one(database_url: str) -> None:
    """Otherwise a mail server with the Message-ID, or a spool with the file, would mistake it for the lost one."""
    store = open_store(database_url)
    with service_over(store) as service:
        service.register()
        service.create()
        service.clock.advance(timedelta(hours=1))
        begin_era(store, FIRST, service.clock.now)
        service.clock.advance(timedelta(hours=1))
        service.regenerate()
        until = service.clock.now + timedelta(minutes=1)
        taken = store.take("lease", service.clock.now, until, 10)
    store.close()

    stream = stream_id(*SUBJECT)
    assert {found.delivery_id for found in taken} == {f"{stream}-1", f"{stream}-2~{FIRST}"}


class FakeBroker:
    """Stores published events; it knows its newest event, or relies on the cursor."""

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


def published_from(
    store: SqliteStore | PostgresStore,
    newest: EventId | None,
    cursor: Path,
    clients: Sequence[str] = (CLIENT,),
) -> list[str]:
    """Publish from the broker's newest event, or from the cursor."""

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
            public_url="",
            clients=clients,
            backoff=Backoff(stop, FakeRandomness()),
        )
        return broker.published

    return asyncio.run(run())


def test_a_publisher_continues_after_kept_events(store: SqliteStore | PostgresStore, tmp_path: Path) -> None:
    cursor = tmp_path / "cursor.json"

    assert published_from(store, EventId(3), cursor) == [f"4~{FIRST}", f"5~{FIRST}"]
    assert published_from(store, EventId(4, FIRST), cursor) == [f"5~{FIRST}"]
    cursor.write_text(json.dumps({"of": "broker", "positions": {CLIENT: f"4~{FIRST}"}}))
    assert published_from(store, None, cursor) == [f"5~{FIRST}"]
    assert json.loads(cursor.read_text())["positions"] == {CLIENT: f"5~{FIRST}"}


def test_without_a_choice_every_client_is_published_except_the_installation(
    store: SqliteStore | PostgresStore, tmp_path: Path
) -> None:
    assert store.size(INSTALLATION.client_ext_id) == 1

    published = published_from(store, None, tmp_path / "cursor.json", clients=())

    assert published == ["1", "2", "3", f"4~{FIRST}", f"5~{FIRST}"]


@pytest.mark.parametrize("newest", [EventId(4), EventId(5, SECOND), EventId(6)])
def test_a_publisher_that_published_lost_events_stops(
    store: SqliteStore | PostgresStore, tmp_path: Path, newest: EventId
) -> None:
    cursor = tmp_path / "cursor.json"
    cursor.write_text(
        json.dumps({"of": "broker", "positions": {CLIENT: str(newest) if newest.era else newest[0]}})
    )
    for known in (newest, None):
        with pytest.raises(PositionNotFound, match=f"was published up to position {newest}"):
            published_from(store, known, cursor)
