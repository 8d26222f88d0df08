"""Every kind of row of every release can be loaded by every later release, and is encoded to the current form.

Lines of golden_rows.jsonl are added, never changed: the table (or another kind of stored data), a tab, the columns as JSON,
bytes as text or in hex. A line of an earlier release has a second tab and the columns in the current form. A new column, and
a new field with a default, need no line.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

import interface.composition.register  # noqa: F401 - loads every refusal
from application.bulk.records import ItemKey, UsersKey
from application.delivery.outbox import DeliveryKey, DeliveryProgress, OutboxStatus, RetryState
from application.record.installation import EraRow
from application.record.ledger import leaf_of
from application.record.streams import column_date, columns_of
from application.subscriptions.records import Target
from application.transaction.command import CommandKey
from application.transaction.details import DetailsKey
from application.transaction.outcomes import Outcome
from application.transaction.records import Change
from domain.bulk.bulk_job import JobKey, JobStatus
from domain.delivery.ticket_delivery import Obsolete
from domain.policies.policy import HashAlgorithm, SendingMethod, WeakHash
from domain.policies.policy_definition import PolicyKey
from domain.shared.errors import REFUSALS
from domain.shared.secret import Secret
from domain.shared.subject import Subject
from domain.subscriptions.subscription import Method, Status
from domain.tickets.states import State
from interface.outbound.files.cursor_file import _Content
from interface.outbound.keys.aes_gcm_sealer import AesGcmSealer
from interface.outbound.sql.answer_table import ANSWER_TABLE, to_answer
from interface.outbound.sql.bulk_tables import (
    BULK_ITEM_TABLE,
    BULK_JOB_TABLE,
    BULK_USERS_TABLE,
    to_job,
    to_processed,
    to_users,
)
from interface.outbound.sql.codec import decoded
from interface.outbound.sql.details_table import DETAILS_TABLE, to_details
from interface.outbound.sql.era_tables import ERA_TABLE
from interface.outbound.sql.ledger_tables import checkpoint_columns, to_checkpoints
from interface.outbound.sql.outbox_tables import DELIVERY_TABLE, outbox_columns, to_pending
from interface.outbound.sql.policy_table import POLICY_TABLE, to_policy
from interface.outbound.sql.sqlite_store import _TABLES
from interface.outbound.sql.subscription_tables import SUBSCRIPTION_TABLE, to_subscribed
from interface.outbound.sql.table import Table
from interface.outbound.sql.ticket_table import DERIVED as TICKETS
from interface.outbound.sql.ticket_table import to_ticket
from interface.outbound.sql.user_table import USER_TABLE, to_recipient
from tests.support.shapes import has_grown_from

GOLDEN = [line.split("\t") for line in Path(__file__).with_name("golden_rows.jsonl").read_text().splitlines()]
EVENTS = [
    line.split("\t") for line in Path(__file__).with_name("golden_events.jsonl").read_text().splitlines()
]
KEY = bytes(range(32))
# Tables that contain only ids, numbers and hashes; and the events, which have a separate file.
PLAIN = {
    *("schema_version", "era_cuts", "row_seals"),
    *("ledger_sizes", "ledger_tiles", "ledger_times", "ticket_events"),
}


def _stored(table: Table[Any, Any], key: Any, row: Any) -> Any:
    [(_, [columns])] = table.steps({key: Change(None, row)})
    return columns


def _recipients(row: Sequence[Any]) -> Any:
    return _stored(USER_TABLE, Subject(*row[:2]), to_recipient(row[3]))[:4]


def _policies(row: Sequence[Any]) -> Any:
    return _stored(POLICY_TABLE, PolicyKey(*row[:2]), to_policy(row[3]))


def _answers(row: Sequence[Any]) -> Any:
    return _stored(ANSWER_TABLE, CommandKey(*row[:2]), to_answer(row[2]))


def _outbox(row: Sequence[Any]) -> Any:
    *entry, event_count, status, retry_state, next_try, leased_until, lease = row
    delivery = to_pending((*entry, None, None, retry_state, event_count, status, next_try, None))
    key = DeliveryKey(row[0], UUID(row[2]), row[3])
    progress = DeliveryProgress(
        delivery.event_count, delivery.status, delivery.retry_state, delivery.next_try
    )
    *_, status, written, next_try, event_count = _stored(DELIVERY_TABLE, key, progress)
    if delivery.retry_state == RetryState():
        written = "{}"  # the default of the column
    leased_until = leased_until and column_date(datetime.fromisoformat(leased_until))
    columns = outbox_columns(delivery.entry)
    return *columns, event_count, status, written, next_try, leased_until, lease


def _subscriptions(row: Sequence[Any]) -> Any:
    subscribed = to_subscribed((row[3], row[4], *row[7:9]))._replace(notice=row[9])
    *derived, pushed, deleted, sealed, acknowledged, progress, notice, _ = _stored(
        SUBSCRIPTION_TABLE, subscribed.row.key, subscribed
    )
    return *derived, sealed, pushed, deleted, acknowledged, progress, notice


def _details(row: Sequence[Any]) -> Any:
    key = DetailsKey(Subject(*row[:2]), UUID(row[2]), row[3])
    *ids, stream, version, salt, reason = _stored(DETAILS_TABLE, key, to_details(*row[4:]))
    return *ids, stream.hex, version, salt, reason


def _ledger(row: Sequence[Any]) -> Any:
    topic, state = EVENTS[row[1] - 1]
    of_user = topic.startswith(("Ticket", "Wrong"))
    columns = columns_of(decoded(topic, state.encode()), Subject("client-123", "user-123" if of_user else ""))
    client, stream, version, user, topic, *searched = columns
    leaf = leaf_of(client, row[1], stream, version, topic, state.encode())
    return client, row[1], stream.hex, version, user, topic, *searched, leaf


def _checkpoints(row: Sequence[Any]) -> Any:
    [checkpoint] = to_checkpoints([row[:5]])
    return *checkpoint_columns(checkpoint), row[5]


def _seal(row: Sequence[Any]) -> Any:
    return row[0], row[1], AesGcmSealer(lambda: [KEY]).unseal(row[0], row[1]).reveal()


AGAIN: dict[str, Callable[[Sequence[Any]], Any]] = {
    "tickets": lambda row: TICKETS.row(to_ticket(row[3])),
    "recipients": _recipients,
    "policies": _policies,
    "outbox": _outbox,
    "answers": _answers,
    "subscriptions": _subscriptions,
    "ledger": _ledger,
    "details": _details,
    "checkpoints": _checkpoints,
    "eras": lambda row: _stored(ERA_TABLE, row[0], EraRow(*row)),
    "bulk_jobs": lambda row: _stored(BULK_JOB_TABLE, JobKey(*row[:2]), to_job(row[3])),
    "bulk_users": lambda row: _stored(BULK_USERS_TABLE, UsersKey(*row[:3]), to_users(row[3])),
    "bulk_items": lambda row: _stored(BULK_ITEM_TABLE, ItemKey(*row[:3]), to_processed(*row[3:])),
    # The content of `sealed` of a subscription, and the sealed forms of targets and tickets.
    "target": lambda row: [Target.of_secret(Secret(row[0].decode())).to_secret().reveal()],
    "seal": _seal,
    # The file of `tickets follow` and `tickets publish`.
    "cursor": lambda row: [msgspec.json.encode(msgspec.json.decode(row[0], type=_Content)) + b"\n"],
}
# The columns of bytes by kind; of the other columns only those that contain JSON.
BYTES = {
    "tickets": (3,),
    "recipients": (3,),
    "policies": (3,),
    "outbox": (4,),
    "answers": (2,),
    "subscriptions": (3, 4, 8),
    "ledger": (9,),
    "details": (4, 5),
    "checkpoints": (2,),
    "bulk_jobs": (3,),
    "bulk_users": (3,),
    "target": (0,),
    "seal": (0,),
    "cursor": (0,),
}


def _loaded(kind: str, columns: str) -> list[Any]:
    row = json.loads(columns)
    for index in BYTES.get(kind, ()):
        text = row[index]
        row[index] = bytes.fromhex(text[4:]) if text.startswith("hex:") else text.encode()
    return list(row)


def _written(kind: str, columns: Any) -> list[Any]:
    encoded = BYTES.get(kind, ())
    return [
        value.encode() if index in encoded and isinstance(value, str) else value
        for index, value in enumerate(columns)
    ]


@pytest.mark.parametrize("line", GOLDEN, ids=[f"{kind}-{number}" for number, (kind, *_) in enumerate(GOLDEN)])
def test_a_stored_row_is_encoded_to_the_current_form(line: list[str]) -> None:
    kind, columns, *today = line

    expected = _loaded(kind, today[0] if today else columns)
    written = _written(kind, AGAIN[kind](_loaded(kind, columns)))

    # A table grows by columns at its end.
    assert len(written) >= len(expected)
    assert all(map(has_grown_from, written, expected))


def test_every_table_has_a_golden_line() -> None:
    assert {kind for kind, *_ in GOLDEN} == set(AGAIN)
    assert set(_TABLES) <= set(AGAIN) | PLAIN


def test_every_outcome_has_a_golden_line() -> None:
    outcomes = {
        json.loads(_loaded(kind, columns)[2])["outcome"] for kind, columns, *_ in GOLDEN if kind == "answers"
    }

    assert outcomes == {*Outcome, *REFUSALS}


def test_every_event_has_a_golden_ledger_row() -> None:
    assert [_loaded(kind, columns)[5] for kind, columns, *_ in GOLDEN if kind == "ledger"] == [
        topic for topic, _ in EVENTS
    ]


@pytest.mark.parametrize(
    ("enum", "values"),
    [
        (State, "initial active tmp-locked fail-locked reset-code admin-changed disabled archived"),
        (HashAlgorithm, "SSHA256 ARGON2ID"),
        (WeakHash, "SSHA SSHA256"),
        (SendingMethod, "Email HTMLemail PDFemail PDFstore Webhook None"),
        (Obsolete, "replaced expired erased deleted archived not-sent"),
        (Method, "webhook set-push set-poll"),
        (Status, "enabled paused disabled parked"),
        (OutboxStatus, "queued failed"),
        (JobStatus, "running paused cancelled finished"),
    ],
)
def test_the_values_of_stored_enums_never_change(enum: type[StrEnum], values: str) -> None:
    assert [*enum] == values.split()
