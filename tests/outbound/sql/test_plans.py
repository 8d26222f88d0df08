"""The statements of the check find rows by an index: its time does not grow with the square of the rows."""

from collections.abc import Iterator

import pytest

from interface.composition.register import TABLES
from interface.outbound.sql.derived_rows import _of_keys
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
