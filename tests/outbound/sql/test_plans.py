"""The statements of the check find rows by an index: its time does not grow with the square of the rows."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from application.record.ledger import HistoryQuery
from interface.composition.register import TABLES
from interface.outbound.sql.answer_check import _EVENTS
from interface.outbound.sql.derived_rows import _of_keys
from interface.outbound.sql.details_check import _ERASED
from interface.outbound.sql.details_table import _DELETE_OF_USER
from interface.outbound.sql.ledger_tables import _NEWEST_OF_USER
from interface.outbound.sql.sqlite_store import SqliteStore
from interface.outbound.sql.tables import Tables
from interface.outbound.sql.user_table import _UNEXPLAINED
from tests.support.stores import temporary_store

DERIVED = Tables(TABLES).derived()


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    with temporary_store() as store:
        yield store


def plan(store: SqliteStore, statement: str, *parameters: str) -> list[str]:
    return [step for *_, step in store._fetch(f"EXPLAIN QUERY PLAN {statement}", parameters)]


@pytest.mark.parametrize("records", DERIVED, ids=lambda records: records.name)
def test_the_rows_of_replayed_states_are_found_by_their_key(store: SqliteStore, records: object) -> None:
    derived = DERIVED[records]  # type: ignore[index]
    name = records.name  # type: ignore[attr-defined]

    steps = plan(store, _of_keys(name, derived.columns, derived.key, 2), *"abcd")

    assert [step for step in steps if step.startswith(f"SCAN {name}")] == []
    assert any(step.startswith(f"SEARCH {name}") for step in steps)


def test_streams_are_found_by_their_key(store: SqliteStore) -> None:
    statement = f"{_of_keys('ledger', ['stream'], ('client_ext_id', 'stream'), 2)} WHERE version = 1"

    assert any(
        "SEARCH ledger USING" in step and "stream=?" in step for step in plan(store, statement, *"abcd")
    )


def test_users_without_events_are_found_in_one_pass(store: SqliteStore) -> None:
    assert not any("CORRELATED" in step for step in plan(store, _UNEXPLAINED))


@pytest.mark.parametrize(
    ("statement", "column"),
    [
        (_ERASED, "user_ext_id"),
        (_NEWEST_OF_USER.format(marks="?"), "user_ext_id"),
        (_NEWEST_OF_USER.format(marks="?, ?"), "user_ext_id"),
        (_EVENTS, "trace_id"),
    ],
)
def test_entries_of_a_user_or_of_a_request_are_found_by_their_index(
    store: SqliteStore, statement: str, column: str
) -> None:
    steps = plan(store, statement, *["a"] * statement.count("?"))

    assert f"(client_ext_id=? AND {column}=? AND position>?)" in steps[0]


@pytest.mark.parametrize(
    ("query", "column"),
    [
        (HistoryQuery("client-1", actor="a"), "actor"),
        (HistoryQuery("client-1", topic="a"), "topic"),
        (HistoryQuery("client-1", trace_id="a"), "trace_id"),
        (HistoryQuery("client-1", user_ext_id="a"), "user_ext_id"),
    ],
)
def test_a_search_without_a_period_finds_entries_by_their_index(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, query: HistoryQuery, column: str
) -> None:
    fetch, asked = store._fetch, list[tuple[str, Sequence[Any]]]()

    def asking(statement: str, parameters: Sequence[Any]) -> list[Any]:
        asked.append((statement, parameters))
        return fetch(statement, parameters)

    with monkeypatch.context() as patched:
        patched.setattr(store, "_fetch", asking)
        store.search(query, 0, 10)

    [(statement, parameters)] = asked
    reads = [step for step in plan(store, statement, *parameters) if "ledger" in step]
    assert reads
    assert all(f"(client_ext_id=? AND ({column},position)>(?,?))" in step for step in reads), reads


def test_an_erasure_finds_the_texts_and_its_event_by_their_indexes(store: SqliteStore) -> None:
    new = "WITH new (client_ext_id, user_ext_id) AS (VALUES (?, ?))"

    steps = plan(store, f"{new} {_DELETE_OF_USER.format(new='new')}", *"ab")

    by_user = "(client_ext_id=? AND user_ext_id=?"
    assert any(step.startswith("SEARCH details USING INDEX") and by_user in step for step in steps)
    assert any(step.startswith("SEARCH erasure USING INDEX") and by_user in step for step in steps)
