"""A search by any pair of filters finds the entries that match both, in pages by position (both stores)."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import combinations, product
from typing import Any

import pytest

from application.record.ledger import HistoryQuery, LedgerEntry
from domain.tickets.states import State
from tests.support.evidence import open_store
from tests.support.fakes import SUBJECT
from tests.support.service import Service, service_over

CLIENT = SUBJECT.client_ext_id
FILTERS = ("user_ext_id", "actor", "topic", "trace_id", "begin", "end")


@pytest.fixture
def service(database_url: str) -> Iterator[Service]:
    store = open_store(database_url)
    with service_over(store) as service:
        service.register()
        service.create()
        for number in range(6):
            service.clock.advance(timedelta(minutes=1))
            service.regenerate(reason=f"letter {number}")
            service.modify(state=State.DISABLED)
            service.modify(state=State.ACTIVE)
        service.define("letters")
        yield service
    store.close()


def test_every_pair_of_filters_finds_the_entries_that_match_both(service: Service) -> None:
    entries = service.store.entries(CLIENT, 0, 100)
    alternating = [(f"actor {entry.position % 3}", CLIENT, entry.position) for entry in entries]
    service.store._run("UPDATE ledger SET actor = ? WHERE client_ext_id = ? AND position = ?", alternating)
    entries = service.store.entries(CLIENT, 0, 100)
    times = [datetime.fromisoformat(entries[place].timestamp) for place in (3, 9)]
    values: dict[str, list[Any]] = {
        "user_ext_id": [SUBJECT.user_ext_id, "unknown"],
        "actor": ["actor 0", "actor 1", "unknown"],
        "topic": ["TicketRegenerated", "TicketStateChanged", "TicketDeleted"],
        "trace_id": [entries[4].trace_id, "0" * 32],
        "begin": times,
        "end": times,
    }

    for pair in combinations(FILTERS, 2):
        for found in product(*(values[name] for name in pair)):
            query = HistoryQuery(CLIENT, **dict(zip(pair, found, strict=True)))
            expected = [entry.position for entry in entries if _matches(query, entry)]
            assert _pages(service, query, limit=2) == expected, query
            assert _pages(service, query, limit=100) == expected, query


def _pages(service: Service, query: HistoryQuery, limit: int) -> list[int]:
    found: list[int] = []
    while page := service.store.search(query, found[-1] if found else 0, limit):
        found += [entry.position for entry in page]
    return found


def _matches(query: HistoryQuery, entry: LedgerEntry) -> bool:
    time = datetime.fromisoformat(entry.timestamp)
    return (
        all(
            wanted in (None, getattr(entry, name))
            for name in FILTERS[:4]
            for wanted in [getattr(query, name)]
        )
        and (query.begin is None or time >= query.begin)
        and (query.end is None or time < query.end)
    )
