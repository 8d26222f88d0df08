"""A page of a history is the same with and without a kept state, and costs the same at any depth (both stores)."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from application.record.history import HistoryItem, history, past_ticket, read_history
from application.record.past_states import PastStates
from domain.tickets.evolution import fold
from domain.tickets.states import State
from tests.support.evidence import open_store
from tests.support.fakes import SUBJECT
from tests.support.service import Service, service_over
from tests.support.stores import history_of


@pytest.fixture
def service(database_url: str) -> Iterator[Service]:
    store = open_store(database_url)
    with service_over(store) as service:
        service.register()
        service.create(reason="joined")
        for number in range(4):
            service.regenerate(reason=f"letter {number}" if number % 2 else None)
            service.modify(state=State.DISABLED)
            service.modify(state=State.ACTIVE)
        yield service
    store.close()


def pages(service: Service, kept: PastStates, limit: int = 2) -> list[HistoryItem]:
    found: list[HistoryItem] = []
    more = True
    while more:
        items, more = read_history(SUBJECT, len(found), limit, ledger=service.store, kept=kept)
        found.extend(items)
    return found


def test_pages_with_kept_states_are_the_history(service: Service) -> None:
    kept, complete = PastStates(), list(history(SUBJECT, ledger=service.store))

    assert pages(service, kept) == complete
    assert pages(service, kept) == complete
    assert pages(service, PastStates(max_states=1), limit=5) == complete


def test_a_deep_page_reads_only_its_entries(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, store = PastStates(), service.store
    monkeypatch.setattr("application.record.history.PAGE", 3)
    pages(service, kept)
    read: list[int] = []

    def entries_of(*arguments: Any) -> Any:
        found = type(store).entries_of(store, *arguments)
        read.extend(entry.version for entry in found)
        return found

    monkeypatch.setattr(store, "entries_of", entries_of)
    read_history(SUBJECT, 10, 2, ledger=store, kept=kept)

    assert min(read) >= 8


def test_a_kept_state_shows_no_comment_that_was_erased(service: Service) -> None:
    kept = PastStates()
    before = pages(service, kept)
    service.erase()

    after = pages(service, kept)

    assert "letter" in str(before)
    assert "letter" not in str(after)
    assert after == list(history(SUBJECT, ledger=service.store))


def test_a_state_of_lost_entries_is_not_used(service: Service) -> None:
    kept = PastStates()
    pages(service, kept)
    service.store._run("UPDATE ledger SET leaf = ? WHERE version = 10", [(b"another leaf",)])

    assert kept.at(SUBJECT, 10, service.store).version == 8
    assert kept.at(SUBJECT, 8, service.store).version == 8


def test_past_tickets_are_the_same_with_and_without_kept_states(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("history", "past_states"):
        monkeypatch.setattr(f"application.record.{module}.STEP", 3)
    service.clock.advance(timedelta(hours=-2))  # set back: the times of later versions are earlier
    service.regenerate(reason="after the clock was set back")
    service.clock.advance(timedelta(hours=5))
    events = history_of(service.store, SUBJECT)
    kept = PastStates()
    ticket = partial(past_ticket, SUBJECT, store=service.store, clock=service.clock)

    for _ in range(2):
        for event in events:
            at_version, _ = ticket(kept=kept, version=event.originator_version)
            at_time, _ = ticket(kept=kept, at=event.timestamp)
            newest = max(one.originator_version for one in events if one.timestamp <= event.timestamp)
            assert at_version == fold(None, events[: event.originator_version])
            assert at_time == fold(None, events[:newest])


def test_a_past_ticket_reads_few_events(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("history", "past_states"):
        monkeypatch.setattr(f"application.record.{module}.STEP", 3)
    kept, store = PastStates(), service.store
    ticket = partial(past_ticket, SUBJECT, store=store, clock=service.clock, kept=kept)
    ticket(version=13)
    read: list[int] = []

    def entries_of(*arguments: Any) -> Any:
        found = type(store).entries_of(store, *arguments)
        read.extend(entry.version for entry in found)
        return found

    monkeypatch.setattr(store, "entries_of", entries_of)
    ticket(version=8)

    assert set(read) <= {6, 7, 8} | {4, 5}  # one of the two may have the comment
