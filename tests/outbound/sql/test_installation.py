"""The ledger of the installation: maintenance is an event, and each restore has its event (both stores)."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from application.record.eras import EventId
from application.record.installation import Installation, newest_check
from application.transaction.records import Changes
from domain.record.installation import (
    FAILED,
    INSTALLATION,
    INSTALLATION_STREAM,
    PASSED,
    ClockSetBack,
    OperatorActed,
    RecordChecked,
    StoreRestored,
)
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.outbound.sql import test_tampering
from tests.outbound.sql.test_tampering import CLIENT, Record
from tests.support.fakes import NOW
from tests.support.stores import begin_era, maintenance_at

record = test_tampering.record
ERA = "INSERT INTO eras (number, name, began) VALUES (?, ?, ?)"
CUT = "INSERT INTO era_cuts (client_ext_id, number, size) VALUES (?, ?, ?)"
BEGAN = "2026-11-20T00:00:00.000000+00:00"
NOT_RECORDED = "no event contains this era: it was inserted, or the store was restored by release 1.0.0"


@pytest.fixture
def installation(record: Record) -> Installation:
    return Installation(record.store, lambda: maintenance_at(NOW))


@pytest.fixture
def of_1_0(record: Record) -> Record:
    """A record that release 1.0.0 has restored."""
    record.sql(ERA, 2, "0a1b2c3d", BEGAN)
    record.sql(CUT, CLIENT, 2, 3)
    return record


def entries(store: SqliteStore | PostgresStore) -> Iterator[tuple[int, str]]:
    for entry in store.entries(INSTALLATION.client_ext_id, 0, 100):
        yield entry.position, entry.topic


def test_maintenance_is_signed_and_checked_like_every_event(
    record: Record, installation: Installation
) -> None:
    installation.note(OperatorActed, operation="tickets rebuild", outcome="done", figures={"rows": 3})
    installation.note(ClockSetBack, seconds=60)

    assert list(entries(record.store)) == [(1, "OperatorActed"), (2, "ClockSetBack")]
    assert {event.actor for event in record.store.events_of(INSTALLATION_STREAM)} == {"os:alice"}
    assert record.check().faults == []
    record.sql("DELETE FROM ticket_events WHERE originator_id = ?", INSTALLATION_STREAM)
    assert len(record.check().faults) == 2


def test_the_newest_check_is_found(record: Record, installation: Installation) -> None:
    assert newest_check(record.store) is None
    for outcome in (FAILED, PASSED):
        installation.note(RecordChecked, operation="tickets jobs check", outcome=outcome, figures={})
    installation.note(ClockSetBack, seconds=60)

    checked = newest_check(record.store)

    assert checked
    assert (checked.outcome, checked.timestamp) == (PASSED, NOW)


def test_concurrent_maintenance_is_recorded_by_both(
    record: Record, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, others = record.store.commit, [Installation(record.store, lambda: maintenance_at(NOW))]

    def after_another(changes: Changes) -> None:
        if others:
            others.pop().note(ClockSetBack, seconds=1)
        commit(changes)

    monkeypatch.setattr(record.store, "commit", after_another)
    installation.note(ClockSetBack, seconds=2)

    assert [event.seconds for event in record.store.events_of(INSTALLATION_STREAM)] == [1, 2]  # type: ignore[attr-defined]


def test_a_restore_is_the_first_event_of_its_era(record: Record, installation: Installation) -> None:
    installation.note(ClockSetBack, seconds=60)
    begin_era(record.store, "aaaaaaaa", NOW)
    begin_era(record.store, "bbbbbbbb", NOW + timedelta(hours=1))

    eras = record.store.eras(INSTALLATION.client_ext_id)
    assert [eras.at(position) for position in (1, 2, 3)] == [
        EventId(1),
        EventId(2, "aaaaaaaa"),
        EventId(3, "bbbbbbbb"),
    ]
    assert record.check().faults == []


def test_a_restore_by_release_1_0_passes_and_is_contained_in_the_first_maintenance(
    of_1_0: Record, installation: Installation
) -> None:
    assert of_1_0.check().faults == []

    installation.note(ClockSetBack, seconds=60)

    restored, _ = of_1_0.store.events_of(INSTALLATION_STREAM)
    assert isinstance(restored, StoreRestored)
    assert (restored.number, restored.era, restored.began) == (2, "0a1b2c3d", BEGAN)
    assert of_1_0.check().faults == []
    of_1_0.sql("UPDATE era_cuts SET size = 2")
    assert of_1_0.check().faults == ["table era_cuts, number 2: the rows of this era differ from its event"]


def test_an_era_that_is_inserted_is_found(of_1_0: Record, installation: Installation) -> None:
    installation.note(ClockSetBack, seconds=60)

    of_1_0.sql(ERA, 3, "bbbbbbbb", BEGAN)
    of_1_0.sql(CUT, CLIENT, 3, 4)

    assert of_1_0.check().faults == [f"table eras, number 3: {NOT_RECORDED}"]


def test_an_era_that_is_deleted_is_found(record: Record) -> None:
    begin_era(record.store, "aaaaaaaa", NOW)

    record.sql("DELETE FROM eras")
    record.sql("DELETE FROM era_cuts")

    assert record.check().faults == ["table eras, number 2: the era is missing"]
