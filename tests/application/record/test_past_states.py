"""A page of a history is the same with and without a kept state, and costs the same at any depth (both stores)."""

from collections.abc import Iterator
from typing import Any

import pytest

from application.record.history import HistoryItem, history, read_history
from application.record.past_states import PastStates
from domain.tickets.states import State
from tests.support.evidence import open_store
from tests.support.fakes import SUBJECT
from tests.support.service import Service, service_over


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
