"""A search by time finds every entry of the period, also if the clock was wrong, and each page costs the same (both stores)."""

import random
from collections.abc import Iterator
from concurrent.futures import wait
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from application.record.access_log import NoteAccess
from application.record.ledger import TILE, HistoryQuery
from tests.support.evidence import open_store
from tests.support.fakes import NOW, SUBJECT
from tests.support.service import AnyStore, Service, command, service_over
from tests.support.web import BASE, TICKET, web_over

CLIENT = SUBJECT.client_ext_id
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def store(database_url: str) -> Iterator[AnyStore]:
    store = open_store(database_url)
    yield store
    store.close()


def given_entries(service: Service, count: int, step: timedelta) -> None:
    """Store entries; the clock advances by `step` before every tenth of them."""
    service.register()  # a client without users and events has no record
    for _ in range(0, count, 10):
        service.clock.advance(step)
        terms: Any = {"operation": "getHistory", "outcome": "read"}
        futures = [service.commands.submit(command(NoteAccess, **terms)) for _ in range(10)]
        wait(futures)


def times_of(store: AnyStore) -> dict[int, datetime]:
    return {
        entry.position: datetime.fromisoformat(entry.timestamp) for entry in store.entries(CLIENT, 0, 10_000)
    }


def found(
    store: AnyStore, begin: datetime | None, end: datetime | None, limit: int, **filters: str
) -> list[int]:
    """Return the positions of every page of a search."""
    query, positions = HistoryQuery(CLIENT, begin=begin, end=end, **filters), [0]
    while page := store.search(query, positions[-1], limit):
        assert len(page) <= limit
        positions += [entry.position for entry in page]
    return positions[1:]


def assert_that_searches_are_right(store: AnyStore, chance: random.Random) -> None:
    times = times_of(store)
    moments = [None, *chance.sample(sorted(times.values()), 6), NOW - 9 * HOUR, NOW + 99 * HOUR]
    for begin in moments:
        for end in moments:
            expected = [
                position
                for position, time in times.items()
                if (begin is None or time >= begin) and (end is None or time < end)
            ]
            assert found(store, begin, end, 400) == expected, (begin, end)
    begin, end = sorted(chance.sample(sorted(times.values()), 2))
    assert found(store, begin, end, 7, actor="helpdesk") == found(store, begin, end, 400)


def test_a_search_finds_the_entries_of_a_clock_that_was_ahead_or_behind(
    store: AnyStore, chance: random.Random
) -> None:
    with service_over(store) as service:
        for jump in (HOUR, -HOUR, -5 * HOUR, 5 * HOUR, timedelta(days=70_000), -timedelta(days=70_000)):
            given_entries(service, 120, 2 * MINUTE)
            service.clock.advance(jump)
        assert store.size(CLIENT) > 2 * TILE

        assert_that_searches_are_right(store, chance)  # before any block is indexed
        store.keep_times()
        assert_that_searches_are_right(store, chance)
        service.clock.advance(-3 * HOUR)
        given_entries(service, TILE, MINUTE)
        assert_that_searches_are_right(store, chance)  # with entries after the last indexed block
        store.keep_times()
        assert_that_searches_are_right(store, chance)
        assert store.differing_times(CLIENT) == []


def test_a_page_reads_only_the_blocks_of_its_period(store: AnyStore) -> None:
    with service_over(store) as service:
        given_entries(service, 6 * TILE, MINUTE)
    store.keep_times()
    times = times_of(store)
    query = HistoryQuery(CLIENT, begin=times[2 * TILE + 12], end=times[3 * TILE])

    assert store._ranges(query, 0)[0] == (2 * TILE, 3 * TILE)
    assert store._ranges(query, 2 * TILE + 100)[0] == (2 * TILE + 100, 3 * TILE)
    assert [begin for begin, _ in store._ranges(query, 5 * TILE)] == [6 * TILE]


def test_the_times_of_an_existing_ledger_are_kept_in_steps_and_rebuilt(
    store: AnyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interface.outbound.sql.ledger_tables._BLOCKS_PER_STATEMENT", 1)
    with service_over(store) as service:
        given_entries(service, 3 * TILE, MINUTE)
    steps = iter([False, True])

    store.keep_times(lambda: next(steps))
    first = store._fetch("SELECT number FROM ledger_times", ())
    store.keep_times()
    kept = [tuple(row) for row in store._fetch("SELECT * FROM ledger_times ORDER BY number", ())]
    store.rebuild_times()

    assert [tuple(row) for row in first] == [(0,)]
    assert [number for _, number, _, _ in kept] == [0, 1, 2]
    assert kept == [tuple(row) for row in store._fetch("SELECT * FROM ledger_times ORDER BY number", ())]


@pytest.mark.parametrize(
    ("statement", "numbers"),
    [
        ("UPDATE ledger_times SET earliest = '9' WHERE number = 1", [1]),
        ("UPDATE ledger_times SET latest = '0' WHERE number = 0", [0]),
        ("DELETE FROM ledger_times WHERE number = 0", [1]),
        ("INSERT INTO ledger_times VALUES ('client-123', 2, '0', '9')", [2]),
        ("UPDATE ledger_times SET number = 2 WHERE number = 1", [2]),
    ],
)
def test_a_changed_block_is_found(store: AnyStore, statement: str, numbers: list[int]) -> None:
    with service_over(store) as service:
        given_entries(service, 2 * TILE, MINUTE)
    store.keep_times()
    assert store.differing_times(CLIENT) == []

    store._run(statement, [()])

    assert store.differing_times(CLIENT) == numbers


def test_times_outside_a_ledger_are_found(store: AnyStore) -> None:
    store._run("INSERT INTO ledger_times VALUES ('ghost', 0, '0', '9'), ('ghost', -1, '0', '9')", [()])

    assert {fault for fault in store.orphaned_rows() if "ledger_times" in fault} == {
        "client 'ghost': table ledger_times has number 0, which is outside the ledger",
        "client 'ghost': table ledger_times has number -1, which is outside the ledger",
    }


def test_the_first_and_the_last_second_of_the_calendar_are_bounds(store: AnyStore, tmp_path: Path) -> None:
    first, last = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"
    with web_over(store, tmp_path) as web:
        web.given_a_ticket()

        def count(**query: str) -> int:
            answer = web.client.get(f"{BASE}/client-123/history", params={"type": "TicketCreated", **query})
            assert answer.status_code == 200, answer.text
            return len(answer.json()["items"])

        assert count(**{"from": first}) == count(to=last) == count(**{"from": first, "to": last}) == 1
        assert count(**{"from": last}) == count(to=first) == count(**{"from": first, "to": first}) == 0
        assert web.client.get(TICKET).status_code == 200
