"""A later release adds a column that events determine; processes of both releases use the store."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from application.record.replay import check_streams, rebuild, stream_ranges
from domain.tickets.state import TicketState
from interface.composition.register import TABLES
from interface.outbound.sql.table import Column, Table, upsert
from interface.outbound.sql.tables import Tables
from interface.outbound.sql.ticket_table import DERIVED, TICKET_TABLE
from tests.support.evidence import open_store
from tests.support.fakes import SUBJECT
from tests.support.service import AnyStore, Service, service_over

CLIENT = SUBJECT.client_ext_id
[STREAMS] = stream_ranges(1)
FAULT = f"client 'client-123', user '{SUBJECT.user_ext_id}': the read row differs from the replayed one"


def with_column(value: Callable[[TicketState], str | None]) -> Tables:
    """Return the tables of a release with column `added` of the table of tickets."""
    assert TICKET_TABLE.store
    derived = replace(DERIVED, columns={**DERIVED.columns, "added": Column("text", value)})
    store = replace(
        TICKET_TABLE.store,
        columns=derived.types,
        statement=upsert("tickets", derived.key, list(derived.columns)),
        write=lambda _, change: derived.row(cast("TicketState", change.row)),
    )
    changed: Table[Any, Any] = replace(TICKET_TABLE, derived=derived, store=store)
    return Tables(changed if table is TICKET_TABLE else table for table in TABLES)


ADDING = with_column(lambda _: None)
WRITING = with_column(lambda state: str(state.reset_count))


@contextmanager
def program(store: AnyStore, tables: Tables | None = None) -> Iterator[Service]:
    former, store._tables = store._tables, tables or store._tables
    try:
        with service_over(store) as service:
            yield service
    finally:
        store._tables = former


@pytest.fixture
def store(database_url: str) -> Iterator[AnyStore]:
    """Return the store of an earlier release with a ticket, migrated."""
    store = open_store(database_url)
    with program(store) as service:
        service.register()
        service.create()
    store._run("ALTER TABLE tickets ADD COLUMN added TEXT", [()])
    yield store
    store.close()


def faults(store: AnyStore, tables: Tables) -> list[str]:
    with program(store, tables):
        return [*store.mistyped_values(), *check_streams(CLIENT, *STREAMS, ledger=store).faults]


def values(store: AnyStore) -> list[Any]:
    return [value for (value,) in store._fetch("SELECT added FROM tickets", ())]


def test_rows_of_the_earlier_release_are_not_differences(store: AnyStore) -> None:
    assert faults(store, ADDING) == faults(store, WRITING) == []


def test_the_adding_release_clears_the_value_of_the_next_one(store: AnyStore) -> None:
    with program(store, WRITING) as service:
        service.regenerate()
    assert (values(store), faults(store, ADDING), faults(store, WRITING)) == (["1"], [], [])

    with program(store, ADDING) as service:
        service.regenerate()

    assert (values(store), faults(store, WRITING)) == ([None], [])


def test_a_rebuild_stores_missing_values_and_a_false_one_is_found(store: AnyStore) -> None:
    with program(store, WRITING):
        rebuild(CLIENT, *STREAMS, ledger=store)
    assert values(store) == ["0"]

    store._run("UPDATE tickets SET added = '7'", [()])

    assert faults(store, WRITING) == [FAULT]
