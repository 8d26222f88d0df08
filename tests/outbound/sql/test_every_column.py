"""A change of any column of any table is found by the check, or the column is listed with its reason (both stores)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from application.delivery.outbox import DeliveryKey
from application.delivery.record_delivery import RecordDelivery
from application.operations.seal_rows import seal_rows
from domain.delivery.ticket_delivery import Attempt
from domain.policies.policy import SendingMethod
from interface.outbound.keys.row_sealer import RowSealer
from interface.outbound.sql.outbox_tables import OUTBOX_TABLE
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.outbound.sql import test_tampering
from tests.outbound.sql.test_tampering import CLIENT, STREAM, Record, given_every_kind
from tests.support.fakes import NOW
from tests.support.service import command
from tests.support.stores import begin_era

record = test_tampering.record

PROGRESS = "progress of the service; a wrong value repeats, delays or skips sending"
SEALED = "authenticated encryption, bound to the row; it does not open after a change"
UNCHECKED = {
    ("checkpoints", "made"): "a clock may be set back; a time-stamp of a witness proves it",
    ("checkpoints", "sent"): PROGRESS,
    ("subscriptions", "sealed"): SEALED,
    ("subscriptions", "acknowledged"): PROGRESS,
    ("subscriptions", "progress"): PROGRESS,
    ("subscriptions", "notice"): PROGRESS,
    ("outbox", "sealed"): SEALED,
    ("outbox", "terms"): "the policy at the time of minting; only values that cannot be decoded are found",
    ("outbox", "trying"): PROGRESS,
    ("outbox", "next_try"): PROGRESS,
    ("outbox", "leased_until"): PROGRESS,
    ("outbox", "lease"): PROGRESS,
    ("row_seals", "name"): "read once by each process; `TICKETS_ROW_SEALS=required` replaces it",
    ("ticket_events", "rowid"): "a number that nothing reads",
    ("ticket_events", "notification_id"): "a number that nothing reads",
}
# A program refuses a store with a schema that it does not know.
NOT_CHANGED = "schema_version"
# The id of a command whose request had an Idempotency-Key.
WITH_KEY = "a" * 64
# Values that a row could have; by default, a number grows, a text gets longer, and the last byte of others differs.
POSSIBLE: dict[tuple[str, str], Any] = {
    ("eras", "name"): "0badcafe",
    ("eras", "began"): "2001-01-01T00:00:00.000000+00:00",
    ("era_cuts", "size"): 1,
    ("checkpoints", "made"): "2001-01-01T00:00:00.000000+00:00",
    ("ledger", "occurred"): "2001-01-01T00:00:00.000000+00:00",
    ("outbox", "minted"): "2001-01-01T00:00:00+00:00",
    ("outbox", "standing"): "failed",
    ("outbox", "stream"): "0" * 32,
    ("outbox", "terms"): "{}",
    ("outbox", "trying"): '{"attempts":9}',
    ("ledger", "stream"): UUID(int=1),
    ("details", "stream"): UUID(int=1),
    ("ticket_events", "originator_id"): UUID(int=1),
}


@pytest.fixture
def filled(record: Record) -> Record:
    """A record with rows in every table, all sealed, and a tile."""
    given_every_kind(record)
    record.service.regenerate(retryable=True, reason="lost letter", command_id=WITH_KEY)
    while record.store.size(CLIENT) < 256:
        record.service.regenerate()
    record.sign()
    record.store.keep_times()
    begin_era(record.store, "0a1b2c3d", NOW)
    record.store._tables.sealer = RowSealer(record.keys.row_keys)
    seal_rows(store=record.store, seals=record.store, finish=True)
    return record


def columns_by_table(record: Record) -> dict[str, list[str]]:
    """Return the columns of every table, from the database."""
    if isinstance(record.store, SqliteStore):
        statement = (
            "SELECT t.name, c.name FROM sqlite_master AS t, pragma_table_info(t.name) AS c"
            " WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'"
        )
    else:
        statement = "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = current_schema()"
    found: dict[str, list[str]] = {}
    for table, column in record.store._fetch(statement, ()):
        found.setdefault(table, []).append(column)
    return found


def changed(record: Record, table: str, columns: list[str], column: str) -> Iterator[None]:
    """Change a column of a row, and restore it."""
    row = dict(zip(columns, record.one(f"SELECT {', '.join(columns)} FROM {table}"), strict=True))
    after = {**row, column: other_value(table, column, row[column])}
    for old, new in ((row, after), (after, row)):
        same = " AND ".join(f"{name} = ?" for name in columns)
        record.sql(f"UPDATE {table} SET {column} = ? WHERE {same}", new[column], *old.values())
        assert record.store._fetch(f"SELECT 1 FROM {table} WHERE {same}", [*new.values()])
        yield


def other_value(table: str, column: str, value: Any) -> Any:
    if (table, column) in POSSIBLE:
        return POSSIBLE[table, column]
    if isinstance(value, int):
        return value + 1_000
    return value + "x" if isinstance(value, str) else value[:-1] + bytes([value[-1] ^ 1])


def test_a_change_of_every_column_is_found_or_listed(filled: Record) -> None:
    assert filled.check().faults == []
    missed = set()
    for table, columns in columns_by_table(filled).items():
        for column in columns if table != NOT_CHANGED else ():
            changing = changed(filled, table, columns, column)
            next(changing)
            faults = filled.check().faults
            next(changing)
            # An entry of the ledger can be the event of an era.
            place = ("client ", "stream ", "table eras", f"table {table}")
            assert all(fault.startswith(place) for fault in faults), faults
            if not faults:
                missed.add((table, column))

    assert filled.check().faults == []
    of_store = {(table, column) for table, columns in columns_by_table(filled).items() for column in columns}
    assert missed == set(UNCHECKED) & of_store


def test_the_documentation_lists_the_columns_that_are_not_checked() -> None:
    text = Path("docs/evidence.md").read_text()

    assert [name for name in map(".".join, UNCHECKED) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("column", ["terms", "trying"])
def test_a_queued_ticket_that_cannot_be_decoded_is_found(record: Record, column: str) -> None:
    record.sql(f"UPDATE outbox SET {column} = 'x' WHERE version = 1 AND user_ext_id = 'user-1'")

    [fault] = record.check().faults
    assert fault.startswith(
        f"client {CLIENT!r}, queued ticket of user 'user-1', version 1: column {column} cannot be decoded"
    )


def test_a_delivery_during_the_check_is_no_fault(record: Record) -> None:
    attempt = Attempt(method=SendingMethod.EMAIL, attempt=1, recipient=None, answer="550")
    failing = [command(RecordDelivery, delivery_key=DeliveryKey(CLIENT, STREAM, 1), attempt=attempt)]

    def fetch(statement: str, parameters: Sequence[Any]) -> list[Any]:
        rows = record.store._fetch(statement, parameters)
        if failing:
            record.service.execute(failing.pop())
        return rows

    assert OUTBOX_TABLE.check
    assert list(OUTBOX_TABLE.check(fetch)) == []


def test_an_answer_that_is_missing_is_found(record: Record) -> None:
    record.service.regenerate(retryable=True, command_id=WITH_KEY)
    record.service.regenerate()
    assert record.check().faults == []

    record.sql("DELETE FROM answers")

    position = record.store.size(CLIENT) - 1
    fault = f"client {CLIENT!r}, position {position}: the answer to command {WITH_KEY!r} is missing"
    assert record.check().faults == [fault]


def test_an_answer_with_another_request_is_found(record: Record) -> None:
    record.service.regenerate(retryable=True, command_id="key", request_digest="abc")
    row = bytes(record.one("SELECT row FROM answers")[0])

    record.sql("UPDATE answers SET row = ?", row.replace(b'"abc"', b'"abd"'))

    reported = "its request differs from that of its events"
    assert record.check().faults == [f"client {CLIENT!r}, answer to command 'key': {reported}"]
