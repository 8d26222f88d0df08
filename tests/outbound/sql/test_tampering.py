"""Every manipulation of the record is found and located (both stores)."""

import base64
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from application.bulk.control_job import Action, ControlBulkJob
from application.bulk.reset_item import item_command
from application.bulk.start_reset import StartBulkReset
from application.delivery.outbox import DeliveryKey
from application.delivery.record_delivery import RecordDelivery
from application.record.access_log import NoteAccess
from application.record.checkpoint import make_checkpoint, make_checkpoints
from application.record.history import history, past_ticket
from application.record.ledger import TILE, Checkpoint, LedgerBroken, leaf_of
from application.record.merkle import root_of
from application.record.past_states import PastStates
from application.record.replay import (
    Findings,
    check_ledger,
    check_streams,
    rebuild,
    stream_ranges,
    unless_unreadable,
    unrecorded_rows,
)
from application.record.stream_heads import StreamHeads
from application.record.streams import EVENTS, LedgerColumns, columns_of
from application.subscriptions.control_subscription import ChangeSubscriptionStatus
from application.subscriptions.define_subscription import DefineSubscription
from application.tickets.records import TICKETS
from domain.bulk.bulk_job import BulkJob, JobKey
from domain.delivery.ticket_delivery import Attempt, Obsolete, delivery_stream_id
from domain.policies.policy import SendingMethod, TicketPolicy
from domain.policies.policy_definition import policy_stream_id
from domain.record.access_log import AccessNoted, access_stream_id
from domain.shared.secret import Secret
from domain.shared.subject import Subject
from domain.subscriptions.subscription import Method, Status, subscription_stream_id
from domain.tickets.events import TicketRegenerated, stream_id
from domain.tickets.evolution import fold
from domain.tickets.ticket import ClearTicket, hash_ticket
from domain.users.user import user_stream_id
from interface.outbound.keys.ledger_keys import LedgerKeys, NoteVerifier
from interface.outbound.sql.codec import JsonMapper
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from interface.verify_evidence import Wrong, parse_keys, unzip, verify
from tests.support.evidence import open_store
from tests.support.evidence_zip import evidence_of, manifest_of, zipped
from tests.support.fakes import NOW, SUBJECT
from tests.support.service import Service, command, service_over
from tests.support.stores import history_of, state_of

CLIENT = SUBJECT.client_ext_id
STREAM = stream_id(*SUBJECT)
USERS = 3
RESETS = 4


@dataclass
class Record:
    store: SqliteStore | PostgresStore
    service: Service
    keys: LedgerKeys

    def sql(self, statement: str, *parameters: Any) -> None:
        self.store._run(statement, [parameters])

    def one(self, statement: str, *parameters: Any) -> tuple[Any, ...]:
        return tuple(self.store._fetch(statement, parameters)[0])

    def sign(self, **options: Any) -> Checkpoint:
        made = make_checkpoint(
            CLIENT, ledger=self.store, signer=self.keys, clock=self.service.clock, **options
        )
        assert made is not None
        return made

    def check(self, outside: tuple[Checkpoint, ...] = ()) -> Findings:
        verifier = NoteVerifier([key for _, key in self.keys.public()])
        findings, store = Findings(faults=[*self.store.mistyped_values()]), self.store
        findings.add(unless_unreadable("the rows", lambda: Findings(faults=[*store.orphaned_rows()])))
        for client in store.clients():
            mine = [checkpoint for checkpoint in outside if checkpoint.client_ext_id == client]
            of_client = partial(check_ledger, client, ledger=store, verifier=verifier, outside=mine)
            findings.add(unless_unreadable("its ledger", of_client))
            for begin, end in stream_ranges(2):
                findings.add(
                    unless_unreadable("streams", partial(check_streams, client, begin, end, ledger=store))
                )
        return findings

    def rebuild(self) -> Findings:
        findings = Findings()
        for client in self.store.clients():
            for begin, end in stream_ranges(2):
                findings.add(rebuild(client, begin, end, ledger=self.store))
        return findings

    @contextmanager
    def changed(self, position: int, columns: dict[str, Any]) -> Iterator[None]:
        """Change columns of an entry of the ledger, and restore them."""
        of_entry = "FROM ledger WHERE client_ext_id = ? AND position = ?"
        row = self.one(f"SELECT * {of_entry}", CLIENT, position)
        for column, value in columns.items():
            self.sql(
                f"UPDATE ledger SET {column} = ? WHERE client_ext_id = ? AND position = ?",
                value,
                CLIENT,
                position,
            )
        yield
        self.sql(
            f"DELETE {of_entry}", columns.get("client_ext_id", CLIENT), columns.get("position", position)
        )
        self.sql(f"INSERT INTO ledger VALUES ({','.join('?' * len(row))})", *row)

    def evidence(self, **options: Any) -> bytes:
        return evidence_of(SUBJECT, ledger=self.store, signer=self.keys, clock=self.service.clock, **options)

    def public(self) -> list[Any]:
        return parse_keys("\n".join(key for _, key in self.keys.public()))

    def rewrite_ledger(self) -> None:
        """Recompute every leaf, as an attacker with the database but without the key can do."""
        for entry in self.store.entries(CLIENT, 0, 10_000):
            key = (CLIENT, entry.position, entry.stream, entry.version, entry.topic)
            self.sql(
                "UPDATE ledger SET leaf = ? WHERE client_ext_id = ? AND position = ?",
                leaf_of(*key, entry.state),
                CLIENT,
                entry.position,
            )


@pytest.fixture
def record(database_url: str, tmp_path: Path) -> Iterator[Record]:
    store = open_store(database_url)
    with service_over(store) as service:
        keys = LedgerKeys(tmp_path / "ledger", "tickets", clock=service.clock, overlap=timedelta(days=30))
        record = Record(store, service, keys)
        subjects = [SUBJECT, *(SUBJECT._replace(user_ext_id=f"user-{number}") for number in range(1, USERS))]
        for subject in subjects:
            service.register(subject=subject)
        for subject in subjects:
            service.create(subject=subject)
            for _ in range(RESETS):
                service.regenerate(subject=subject)
        record.sign()
        service.regenerate()
        yield record
    store.close()


def test_an_unchanged_record_has_no_faults(record: Record) -> None:
    record.sign()
    findings = record.check()

    assert findings.faults == []
    assert (findings.events, findings.rows, findings.checkpoints) == (19, 6, 2)


class Busy:
    """A ledger of a service that resets a ticket before each of the first reads of sizes and read rows."""

    def __init__(self, record: Record, resets: int) -> None:
        self._record, self._resets = record, resets

    def __getattr__(self, name: str) -> Any:
        return getattr(self._record.store, name)

    def size(self, client_ext_id: str) -> int:
        self._reset()
        return self._record.store.size(client_ext_id)

    def differing_rows(self, records: Any, expected: Sequence[Any]) -> Sequence[tuple[str, str]]:
        self._reset()
        return self._record.store.differing_rows(records, expected)

    def _reset(self) -> None:
        if self._resets:
            self._resets -= 1
            self._record.service.regenerate()


def check_beside_a_service(record: Record) -> list[str]:
    verifier = NoteVerifier([key for _, key in record.keys.public()])
    findings = check_ledger(CLIENT, ledger=Busy(record, 2), verifier=verifier)
    for begin, end in stream_ranges(1):
        findings.add(check_streams(CLIENT, begin, end, ledger=Busy(record, 3)))
    return findings.faults


def test_a_check_beside_a_writing_service_reports_no_fault(record: Record) -> None:
    assert check_beside_a_service(record) == []


def test_a_check_beside_a_writing_service_finds_differences(record: Record) -> None:
    record.sql("UPDATE tickets SET valid_to = '' WHERE user_ext_id = 'user-1'")
    record.sql("UPDATE ledger_sizes SET size = size + 1 WHERE client_ext_id = ?", CLIENT)

    assert check_beside_a_service(record) == [
        f"client {CLIENT!r}: position 20 is missing",
        f"client {CLIENT!r}, user 'user-1': the read row differs from the replayed one",
    ]


def change_a_byte(record: Record) -> None:
    state = bytearray(
        record.one(
            "SELECT state FROM ticket_events WHERE originator_id = ? AND originator_version = 3", STREAM
        )[0]
    )
    state[state.index(b"helpdesk")] ^= 1
    record.sql(
        "UPDATE ticket_events SET state = ? WHERE originator_id = ? AND originator_version = 3",
        bytes(state),
        STREAM,
    )


def delete_an_event(record: Record) -> None:
    record.sql("DELETE FROM ticket_events WHERE originator_id = ? AND originator_version = 3", STREAM)


def delete_an_event_and_its_entry(record: Record) -> None:
    delete_an_event(record)
    record.sql("DELETE FROM ledger WHERE stream = ? AND version = 3", STREAM)


def test_the_history_names_a_missing_event(record: Record) -> None:
    record.sql("DELETE FROM ticket_events WHERE originator_id = ? AND originator_version = 2", STREAM)

    named = f"version 2 of the ticket of user {SUBJECT.user_ext_id!r} in client {CLIENT!r} is missing"
    with pytest.raises(LedgerBroken, match=named):
        list(history(SUBJECT, ledger=record.store))
    with pytest.raises(LedgerBroken, match=named):
        record.evidence()
    with pytest.raises(LedgerBroken, match=named):
        past_ticket(SUBJECT, store=record.store, clock=record.service.clock, kept=PastStates(), version=4)


def cut_off_the_newest(record: Record) -> None:
    size = record.store.size(CLIENT)
    record.sql("DELETE FROM ticket_events WHERE originator_id = ? AND originator_version >= 5", STREAM)
    for position in (USERS + 5, size):
        record.sql("DELETE FROM ledger WHERE client_ext_id = ? AND position = ?", CLIENT, position)
    record.sql("UPDATE ledger_sizes SET size = ? WHERE client_ext_id = ?", size - 2, CLIENT)


def cut_off_the_end_of_the_ledger(record: Record) -> None:
    for position in (18, 19):
        _, stream, version = record.one(
            "SELECT client_ext_id, stream, version FROM ledger WHERE position = ?", position
        )
        record.sql(
            "DELETE FROM ticket_events WHERE originator_id = ? AND originator_version = ?", stream, version
        )
        record.sql("DELETE FROM ledger WHERE client_ext_id = ? AND position = ?", CLIENT, position)
    record.sql("UPDATE ledger_sizes SET size = 17 WHERE client_ext_id = ?", CLIENT)


def swap_two_events(record: Record) -> None:
    states = [
        record.one(
            "SELECT state FROM ticket_events WHERE originator_id = ? AND originator_version = ?",
            STREAM,
            version,
        )[0]
        for version in (2, 3)
    ]
    for version, state in zip((3, 2), states, strict=True):
        record.sql(
            "UPDATE ticket_events SET state = ? WHERE originator_id = ? AND originator_version = ?",
            bytes(state),
            STREAM,
            version,
        )


def swap_two_entries(record: Record) -> None:
    leaves = record.store.leaves(CLIENT, 1, 3)
    for position, leaf in zip((3, 2), leaves, strict=True):
        record.sql(
            "UPDATE ledger SET leaf = ? WHERE client_ext_id = ? AND position = ?", leaf, CLIENT, position
        )


def insert_an_event(record: Record) -> None:
    state = record.one(
        "SELECT state FROM ticket_events WHERE originator_id = ? AND originator_version = 6", STREAM
    )[0]
    record.sql(
        "INSERT INTO ticket_events (originator_id, originator_version, topic, state) VALUES (?, 7, 'TicketRegenerated', ?)",
        STREAM,
        bytes(state),
    )


def rewrite_a_stream_with_its_ledger_rows(record: Record) -> None:
    change_a_byte(record)
    record.rewrite_ledger()


def change_the_read_row(record: Record) -> None:
    row = bytes(record.one("SELECT row FROM tickets WHERE user_ext_id = ?", SUBJECT.user_ext_id)[0])
    record.sql(
        "UPDATE tickets SET row = ? WHERE user_ext_id = ?",
        row.replace(b'"reset_count":5', b'"reset_count":4'),
        SUBJECT.user_ext_id,
    )


def change_a_column_of_the_read_row(record: Record) -> None:
    record.sql("UPDATE tickets SET state_name = 'disabled' WHERE user_ext_id = ?", SUBJECT.user_ext_id)


def rebuild_the_ledger_without_the_key(record: Record) -> None:
    rewrite_a_stream_with_its_ledger_rows(record)
    for row in record.store.checkpoints(CLIENT, 0, 10):
        root = root_of(record.store.leaves(CLIENT, 0, row.size))
        lines = row.note.split("\n")
        note = "\n".join([*lines[:2], base64.b64encode(root).decode(), *lines[3:]])
        record.sql("UPDATE checkpoints SET root = ?, note = ? WHERE size = ?", root, note, row.size)


def sign_with_another_key(record: Record, tmp: Path) -> None:
    other = LedgerKeys(tmp / "other", "tickets", clock=record.service.clock, overlap=timedelta())
    [checkpoint] = record.store.checkpoints(CLIENT, 0, 10)
    text = checkpoint.note.split("\n\n")[0] + "\n"
    record.sql("UPDATE checkpoints SET note = ? WHERE size = ?", other.sign(text), checkpoint.size)


TAMPERING: list[tuple[Callable[[Record], None], str]] = [
    (change_a_byte, "version 3: the event differs from the ledger"),
    (delete_an_event, "version 3: the event is missing"),
    (delete_an_event_and_its_entry, "position 6 is missing"),
    (cut_off_the_newest, "position 8 is missing"),
    (cut_off_the_end_of_the_ledger, "a checkpoint covers 18 entries, but the ledger has only 17"),
    (swap_two_events, "version 2: the event differs from the ledger"),
    (swap_two_entries, "the first 18 entries differ from the signed ones"),
    (insert_an_event, "version 7: the event is in no ledger"),
    (rewrite_a_stream_with_its_ledger_rows, "the first 18 entries differ from the signed ones"),
    (change_the_read_row, f"user {SUBJECT.user_ext_id!r}: the read row differs from the replayed one"),
    (change_a_column_of_the_read_row, "the read row differs from the replayed one"),
    (
        rebuild_the_ledger_without_the_key,
        "the checkpoint of 18 entries is not signed by a key of this service",
    ),
]


@pytest.mark.parametrize(("tamper", "reported"), TAMPERING, ids=[tamper.__name__ for tamper, _ in TAMPERING])
def test_tampering_is_found_and_located(
    record: Record, tamper: Callable[[Record], None], reported: str
) -> None:
    tamper(record)

    assert any(reported in fault for fault in record.check().faults), record.check().faults


STREAMS = ("stream", "originator_id")
FORGED = ClearTicket("forged")
# Version 1 of the stream contains its client and user; version 3 contains neither.
COLUMNS: dict[str, tuple[Any, str]] = {
    "client_ext_id": ("client-124", "client 'client-124', position {0}, stream {1}, version {3}: "),
    "position": (900, "position 900, stream {1}, version {3}: the event differs from the ledger"),
    "stream": (stream_id("client-124", "."), "position {0}, stream {2}, version {3}: the event is missing"),
    "version": (900, "position {0}, stream {1}, version 900: the event is missing"),
    "user_ext_id": (".", "position {0}, stream {1}, version {3}: column user_ext_id"),
    "topic": ("TicketVerified", "position {0}, stream {1}, version {3}: column topic"),
    "occurred": (
        "2000-01-01T00:00:00.000000+00:00",
        "position {0}, stream {1}, version {3}: column occurred",
    ),
    "actor": ("mallory", "position {0}, stream {1}, version {3}: column actor"),
    "trace_id": ("0" * 32, "position {0}, stream {1}, version {3}: column trace_id"),
    "leaf": (bytes(32), "position {0}, stream {1}, version {3}: the event differs from the ledger"),
}


@pytest.mark.parametrize(
    ("stored", "other"),
    [(b',"deleted":false', b""), (b',"deleted":false', b',"deleted":false,"of_next_release":1')],
    ids=["of the former release", "of the next release"],
)
def test_a_read_row_of_another_release_is_compared_by_content(
    record: Record, stored: bytes, other: bytes
) -> None:
    """Rows only grow, by fields with defaults (ADR 12, rule 5)."""
    row = bytes(record.one("SELECT row FROM tickets WHERE user_ext_id = ?", SUBJECT.user_ext_id)[0])
    assert stored in row

    for changed, faults in ((row, 0), (row.replace(b'"reset_count":5', b'"reset_count":4'), 1)):
        of_other = changed.replace(stored, other)
        record.sql("UPDATE tickets SET row = ? WHERE user_ext_id = ?", of_other, SUBJECT.user_ext_id)

        assert len(record.check().faults) == faults


@pytest.mark.parametrize("row", [b"", b"{}", b"\xff", b'{"x":' + b"[" * 100_000], ids=range(4))
def test_an_invalid_read_row_is_found(record: Record, row: bytes) -> None:
    record.sql("UPDATE tickets SET row = ? WHERE user_ext_id = 'user-1'", row)

    given_every_kind(record)
    record.sql("UPDATE policies SET row = ? WHERE policy_ext_id = 'one'", row)
    record.sql("UPDATE subscriptions SET row = ?", row)

    reported = "the read row differs from the replayed one"
    assert sorted(record.check().faults) == [
        f"client {CLIENT!r}, policy 'one': {reported}",
        f"client {CLIENT!r}, subscription 'siem': {reported}",
        f"client {CLIENT!r}, user 'user-1': {reported}",
    ]


def test_a_change_of_any_column_of_the_ledger_is_found(record: Record) -> None:
    for version in (1, 3):
        position = USERS + version
        for column, (value, reported) in COLUMNS.items():
            with record.changed(position, {column: value}):
                faults = record.check().faults

            assert any(reported.format(position, STREAM, value, version) in fault for fault in faults), faults
            assert record.check().faults == []


def test_every_column_of_the_ledger_is_checked(record: Record) -> None:
    stored = list(COLUMNS)
    assert len(record.one("SELECT * FROM ledger")) == len(
        record.one(f"SELECT {', '.join(stored)} FROM ledger")
    )
    assert set(stored) == {*LedgerColumns._fields, "position", "leaf"}


def forge_the_row_of_a_stream_that_is_hidden(record: Record) -> None:
    row = bytes(record.one("SELECT row FROM tickets WHERE user_ext_id = ?", SUBJECT.user_ext_id)[0])
    known = state_of(record.store, SUBJECT).ticket_hash
    forged = row.replace(known.encode(), hash_ticket(FORGED, bytes(16)).encode())
    record.sql("UPDATE tickets SET row = ? WHERE user_ext_id = ?", forged, SUBJECT.user_ext_id)
    record.sql("UPDATE ledger SET user_ext_id = '.' WHERE stream = ?", STREAM)


def test_a_forged_row_is_found_although_the_ledger_names_another_user(record: Record) -> None:
    forge_the_row_of_a_stream_that_is_hidden(record)
    assert record.service.verify(FORGED)["verified"]

    faults = record.check().faults

    named = [fault for fault in faults if "column user_ext_id is '.', not 'user-123'" in fault]
    assert len(named) == RESETS + 2
    assert any("the read row differs from the replayed one" in fault for fault in faults)


def test_a_rebuild_reports_a_hidden_stream_and_repairs_its_row(record: Record) -> None:
    forge_the_row_of_a_stream_that_is_hidden(record)

    findings = record.rebuild()

    assert findings.rows == USERS
    assert len(findings.faults) == RESETS + 2
    assert all("column user_ext_id" in fault for fault in findings.faults)
    assert not record.service.verify(FORGED)["verified"]


LOWEST = -(2**63)


def forge_an_event(record: Record, position: int, **fields: Any) -> None:
    """Add a reset with a forged hash at a position, with all its consequences."""
    history = history_of(record.store, SUBJECT)
    newest = history[-1]
    assert isinstance(newest, TicketRegenerated)
    event = replace(
        newest,
        originator_version=newest.originator_version + 1,
        reset_count=newest.reset_count + 1,
        ticket_hash=hash_ticket(FORGED, bytes(16)),
        **fields,
    )
    stored, columns = JsonMapper().to_stored_event(event), columns_of(event, SUBJECT)
    version, topic, state = stored.originator_version, stored.topic, stored.state
    record.sql(
        "INSERT INTO ticket_events (originator_id, originator_version, topic, state) VALUES (?, ?, ?, ?)",
        *(STREAM, version, topic, state),
    )
    leaf = leaf_of(CLIENT, position, STREAM, version, topic, state)
    record.sql(
        f"INSERT INTO ledger ({', '.join(columns._fields)}, position, leaf) VALUES ({','.join('?' * 10)})",
        *(*columns, position, leaf),
    )
    row = fold(None, [*history, event])
    assert row
    record.store.rewrite_rows(TICKETS, [row])


@pytest.mark.parametrize("position", [0, -1, LOWEST])
def test_an_event_at_a_position_below_the_first_is_found(record: Record, position: int) -> None:
    forge_an_event(record, position)
    assert record.service.verify(FORGED)["verified"]

    faults = record.check().faults

    assert f"client {CLIENT!r}: table ledger has position {position}, which is outside the ledger" in faults


@pytest.mark.parametrize("field", ["timestamp", "valid_from", "valid_to"])
def test_a_time_without_its_offset_is_found(record: Record, field: str) -> None:
    """No command could use it: it cannot be compared with the clock."""
    record.sql("UPDATE ledger_sizes SET size = size + 1")
    forge_an_event(record, record.store.size(CLIENT), **{field: NOW.replace(tzinfo=None)})

    reported = f"version {RESETS + 3}: the event cannot be replayed: field {field} has no offset from UTC"
    assert any(fault.endswith(reported) for fault in record.check().faults), record.check().faults


@pytest.mark.parametrize("size", [0, -1, LOWEST])
def test_a_checkpoint_of_no_entries_is_found(record: Record, size: int) -> None:
    record.sql("UPDATE checkpoints SET size = ?", size)

    reported = f"client {CLIENT!r}: table checkpoints has size {size}, which is outside the ledger"
    assert record.check().faults == [reported]


@pytest.mark.parametrize("made", ["x", "2026-11-23", "2026-11-23T09:42:00.000000+01:00", ""])
def test_a_checkpoint_with_an_invalid_time_is_found(record: Record, made: str) -> None:
    record.sql("UPDATE checkpoints SET made = ?", made)

    reported = f"invalid checkpoint: {made!r} is not a time in UTC"
    assert record.check().faults == [f"client {CLIENT!r}: {reported}"]


def test_an_unreadable_checkpoint_does_not_affect_other_clients(record: Record) -> None:
    record.sql("UPDATE checkpoints SET made = 'x'")
    other = SUBJECT._replace(client_ext_id="client-124")
    record.service.register(subject=other)
    record.service.create(subject=other)

    made = make_checkpoints(
        ledger=record.store,
        signer=record.keys,
        clock=record.service.clock,
        every_events=1,
        every=timedelta(days=1),
    )

    assert made == 1
    assert record.store.newest_checkpoint("client-124")


@pytest.fixture
def record_with_tiles(record: Record) -> Record:
    while record.store.size(CLIENT) < 2 * TILE:
        record.service.regenerate()
    record.sign()
    return record


def keep_a_tile(record: Record, number: int) -> None:
    record.sql("DELETE FROM ledger_tiles WHERE number = ?", number)
    record.store.save_tiles(CLIENT, number, [bytes(32)])


@pytest.mark.parametrize("number", [2, 2**63 - 1, -1, LOWEST])
def test_a_tile_outside_the_ledger_is_found(record_with_tiles: Record, number: int) -> None:
    keep_a_tile(record_with_tiles, number)

    reported = f"client {CLIENT!r}: table ledger_tiles has number {number}, which is outside the ledger"
    assert record_with_tiles.check().faults == [reported]


@pytest.mark.parametrize("number", [0, 1])
def test_a_changed_tile_is_found(record_with_tiles: Record, number: int) -> None:
    keep_a_tile(record_with_tiles, number)

    reported = f"client {CLIENT!r}: the tile that ends at {(number + 1) * TILE} differs"
    assert record_with_tiles.check().faults == [reported]


def test_a_changed_tile_after_a_missing_one_is_found(record_with_tiles: Record) -> None:
    record_with_tiles.sql("DELETE FROM ledger_tiles WHERE number = 0")
    assert record_with_tiles.check().faults == []
    keep_a_tile(record_with_tiles, 1)

    assert record_with_tiles.check().faults == [f"client {CLIENT!r}: the tile that ends at 512 differs"]


@pytest.mark.parametrize("tamper", [change_a_byte, delete_an_event, delete_an_event_and_its_entry])
def test_a_rebuild_does_not_change_a_row_whose_events_differ_from_the_ledger(
    record: Record, tamper: Callable[[Record], None]
) -> None:
    tamper(record)
    before = state_of(record.store, SUBJECT)

    findings = record.rebuild()

    assert findings.rows == USERS - 1
    assert any("version 3" in fault for fault in findings.faults)
    assert state_of(record.store, SUBJECT) == before


def given_every_kind(record: Record) -> dict[str, UUID]:
    """Add streams of every kind to the ledger, and return the stream of each kind by its name."""
    service, of_client = record.service, Subject(CLIENT)

    def run(kind: Any, **changes: Any) -> None:
        service.execute(command(kind, **{"subject": of_client, **changes}))

    service.register(email="new@example.com")
    policy = TicketPolicy(ticket_length=30)
    for name in ("one", "two"):
        service.define(name, policy=policy, is_default=True, subject=of_client)
    hook, secret = Secret("https://siem.example/hook"), Secret("whsec_x")
    run(DefineSubscription, name="siem", method=Method.WEBHOOK, url=hook, secret=secret)
    run(ChangeSubscriptionStatus, name="siem", status=Status.PAUSED)
    for user in ("user-1", "user-2", ""):
        run(NoteAccess, subject=Subject(CLIENT, user), operation="getTicket", outcome="read")
    attempt = Attempt(method=SendingMethod.EMAIL, attempt=1, recipient="u***@e***.com", answer="550")
    key = DeliveryKey(CLIENT, STREAM, 1)
    run(RecordDelivery, subject=SUBJECT, delivery_key=key, attempt=attempt)
    run(RecordDelivery, subject=SUBJECT, delivery_key=key, why=Obsolete.REPLACED)
    run(StartBulkReset, job="job-1", users=("user-2", "unknown"))
    job = record.store.bulk_job(JobKey(CLIENT, "job-1"))
    assert job
    service.execute(item_command(job, 1, "user-2"))
    run(ControlBulkJob, job="job-1", action=Action.PAUSE)
    return {
        "BulkJob": BulkJob.of(job.key, job).id,
        "TicketCredential": STREAM,
        "TicketDelivery": delivery_stream_id(STREAM, 1),
        "PolicyDefinition": policy_stream_id(CLIENT, "one"),
        "AccessLog": access_stream_id(CLIENT),
        "Subscription": subscription_stream_id(CLIENT, "siem"),
        "User": user_stream_id(*SUBJECT),
    }


def test_unchanged_streams_of_every_kind_have_no_faults(record: Record) -> None:
    streams = given_every_kind(record)
    record.sign()

    assert record.check().faults == []
    assert record.rebuild().faults == []
    # The stream of the installation is in another ledger (test_installation.py).
    assert {*streams, "Installation"} == {event.AGGREGATE for event in EVENTS.values()}


def test_a_changed_column_is_found_in_a_stream_of_any_kind(record: Record) -> None:
    searched = ("actor", "occurred", "trace_id", "user_ext_id")
    for stream in given_every_kind(record).values():
        for version in (1, 2):
            entry = "SELECT position FROM ledger WHERE stream = ? AND version = ?"
            [position] = record.one(entry, stream, version)
            with record.changed(position, dict.fromkeys(searched, "x")):
                faults = record.check().faults

            place = f"client {CLIENT!r}, position {position}, stream {stream}, version {version}: column"
            of_entry = [fault.split(" is ")[0] for fault in faults if "queued ticket" not in fault]
            assert sorted(of_entry) == [f"{place} {column}" for column in searched]


def test_a_stream_under_another_id_is_found_although_every_leaf_matches(record: Record) -> None:
    for name, stream in given_every_kind(record).items():
        other = stream_id(CLIENT, name)
        for table, column in (("ledger", "stream"), ("ticket_events", "originator_id")):
            record.sql(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", other, stream)
        record.rewrite_ledger()

        faults = record.check().faults

        named = f"stream {other}, version 1: column stream is '{other}', not '{stream}'"
        assert any(named in fault for fault in faults), faults


def test_an_event_of_another_client_is_found(record: Record) -> None:
    streams = given_every_kind(record)
    record.sql("UPDATE ledger SET client_ext_id = 'client-124' WHERE user_ext_id <> 'user-2'")

    faults = record.check().faults

    for stream in streams.values():
        named = f"stream {stream}, version 1: column client_ext_id is 'client-124', not '{CLIENT}'"
        assert any(named in fault for fault in faults), faults


def replace_in_row(record: Record, table: str, former: bytes, new: bytes) -> None:
    for key, row in record.store._fetch(f"SELECT {NAMES[table]}, row FROM {table}", ()):
        changed = bytes(row).replace(former, new)
        record.sql(f"UPDATE {table} SET row = ? WHERE {NAMES[table]} = ?", changed, key)


NAMES = {"policies": "policy_ext_id", "subscriptions": "name"}
CHANGED_ROWS = [
    ("policies", b'"policy_ext_id":"one"', b'"policy_ext_id":"two"', "policy 'one'"),
    ("policies", b'"is_default":true', b'"is_default":false', "policy 'two'"),
    ("subscriptions", b"https://siem.example", b"https://evil.example", "subscription 'siem'"),
    ("subscriptions", b'"status":"paused"', b'"status":"enabled"', "subscription 'siem'"),
]
CHANGED_COLUMNS = [
    ("UPDATE policies SET version = 0 WHERE policy_ext_id = 'one'", "policy 'one'"),
    ("DELETE FROM policies WHERE policy_ext_id = 'one'", "policy 'one'"),
    ("UPDATE subscriptions SET pushed = 1", "subscription 'siem'"),
    ("UPDATE subscriptions SET deleted = 1", "subscription 'siem'"),
    ("UPDATE subscriptions SET version = 1", "subscription 'siem'"),
]


@pytest.mark.parametrize(("table", "former", "new", "named"), CHANGED_ROWS)
def test_a_changed_policy_or_subscription_is_found_and_rebuilt(
    record: Record, table: str, former: bytes, new: bytes, named: str
) -> None:
    given_every_kind(record)

    replace_in_row(record, table, former, new)

    reported = f"client {CLIENT!r}, {named}: the read row differs from the replayed one"
    assert record.check().faults == [reported]
    assert record.rebuild().faults == []
    assert record.check().faults == []


@pytest.mark.parametrize(("statement", "named"), CHANGED_COLUMNS)
def test_a_changed_column_of_a_policy_or_subscription_is_found_and_rebuilt(
    record: Record, statement: str, named: str
) -> None:
    given_every_kind(record)
    sealed = record.one("SELECT sealed, acknowledged, progress, notice FROM subscriptions")

    record.sql(statement)

    reported = f"client {CLIENT!r}, {named}: the read row differs from the replayed one"
    assert record.check().faults == [reported]
    assert record.rebuild().rows == USERS + 4
    assert record.check().faults == []
    assert record.one("SELECT sealed, acknowledged, progress, notice FROM subscriptions") == sealed


def test_a_missing_subscription_is_found_and_cannot_be_rebuilt(record: Record) -> None:
    """No event contains its target."""
    given_every_kind(record)
    record.sql("DELETE FROM subscriptions")
    reported = f"client {CLIENT!r}, subscription 'siem': the read row differs from the replayed one"

    assert record.check().faults == [reported]
    assert record.rebuild().faults == []
    assert record.check().faults == [reported]


@pytest.mark.parametrize(
    ("table", "noun"), [("policies", "policy"), ("tickets", "user"), ("recipients", "recipient")]
)
def test_a_row_without_events_is_found(record: Record, table: str, noun: str) -> None:
    given_every_kind(record)
    row = record.one(f"SELECT * FROM {table}")

    record.sql(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", row[0], "forged", *row[2:])

    assert record.check().faults == [f"client {CLIENT!r}, {noun} 'forged': the read row has no events"]


USER_ROWS = [
    (b"user@example.com", b"evil@example.com"),
    (b'"name":null', b'"name":"Eve"'),
    (b'"postal_address":null', b'"postal_address":["Lane 1"]'),
    (b'"created":"2026', b'"created":"2025'),
    (b'"address_version":1', b'"address_version":2'),
    (b'"salt":"', b'"salt":"AAAA'),
    (b'"user_ext_id":"user-1"', b'"user_ext_id":"user-2"'),
    (b'"version":1', b'"version":2'),
    (b"{", b"["),
]


@pytest.mark.parametrize(("former", "new"), USER_ROWS)
def test_a_changed_recipient_is_found_and_cannot_be_rebuilt(
    record: Record, former: bytes, new: bytes
) -> None:
    [row] = record.one("SELECT row FROM recipients WHERE user_ext_id = 'user-1'")
    changed = bytes(row).replace(former, new, 1)
    assert changed != bytes(row)
    record.sql("UPDATE recipients SET row = ? WHERE user_ext_id = 'user-1'", changed)

    reported = f"client {CLIENT!r}, recipient 'user-1': the read row differs from the replayed one"
    assert record.check().faults == [reported]
    assert record.rebuild().faults == []
    assert record.check().faults == [reported]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE recipients SET version = 2 WHERE user_ext_id = 'user-1'",
        "DELETE FROM recipients WHERE user_ext_id = 'user-1'",
        "UPDATE recipients SET row = (SELECT row FROM recipients WHERE user_ext_id = 'user-2') WHERE user_ext_id = 'user-1'",
    ],
)
def test_a_replaced_or_missing_recipient_is_found(record: Record, statement: str) -> None:
    record.sql(statement)

    reported = f"client {CLIENT!r}, recipient 'user-1': the read row differs from the replayed one"
    assert record.check().faults == [reported]


def test_the_former_row_of_a_recipient_is_found(record: Record) -> None:
    """Also that of an erased one."""
    former = record.one("SELECT * FROM recipients WHERE user_ext_id = ?", SUBJECT.user_ext_id)
    reported = f"client {CLIENT!r}, recipient 'user-123': the read row differs from the replayed one"
    for change in (partial(record.service.register, email="new@example.com"), record.service.erase):
        change()
        assert record.check().faults == []
        newest = record.store._fetch("SELECT * FROM recipients WHERE user_ext_id = 'user-123'", ())
        record.sql("DELETE FROM recipients WHERE user_ext_id = 'user-123'")
        record.sql("INSERT INTO recipients VALUES (?, ?, ?, ?, ?)", *former)

        assert record.check().faults == [reported]
        record.sql("DELETE FROM recipients WHERE user_ext_id = 'user-123'")
        for row in newest:
            record.sql("INSERT INTO recipients VALUES (?, ?, ?, ?, ?)", *row)


def test_a_recipient_without_a_commitment_is_listed_and_not_a_fault(record: Record) -> None:
    """Release 1.0 wrote such rows."""
    [row] = record.one("SELECT row FROM recipients WHERE user_ext_id = 'user-1'")
    of_release_1_0 = bytes(row).partition(b',"address_version"')[0] + b"}"
    record.sql("UPDATE recipients SET row = ? WHERE user_ext_id = 'user-1'", of_release_1_0)

    assert record.check().faults == []
    [listed] = unrecorded_rows(record.store)
    assert listed.startswith(
        f"client {CLIENT!r}, recipient 'user-1': the user has events, but the row has no commitment"
    )


def change_the_topic(record: Record, stream: UUID, topic: str) -> None:
    """Of the second event of a stream, so that every leaf matches."""
    record.sql("UPDATE ledger SET topic = ? WHERE stream = ? AND version = 2", topic, stream)
    record.sql(
        "UPDATE ticket_events SET topic = ? WHERE originator_id = ? AND originator_version = 2", topic, stream
    )
    record.rewrite_ledger()


def test_an_event_of_another_kind_of_stream_is_found(record: Record) -> None:
    streams = given_every_kind(record)
    for kind, topic in (
        ("TicketCredential", "PolicyDefaultWithdrawn"),
        ("PolicyDefinition", "TicketVerified"),
    ):
        change_the_topic(record, streams[kind], topic)

        reported = (
            f"stream {streams[kind]}, version 2: column topic: no {topic} belongs to a stream of a {kind}"
        )
        assert any(reported in fault for fault in record.check().faults), record.check().faults


def test_an_unknown_topic_is_found_and_loads_nothing(record: Record) -> None:
    for topic in ("TicketStolen", "antigravity:geohash", ""):
        change_the_topic(record, STREAM, topic)

        reported = f"version 2: event type {topic!r} is unknown: check with the release that stored it"
        assert any(reported in fault for fault in record.check().faults), record.check().faults
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("table", "column", "value", "type_"),
    [
        ("ledger", "stream", "'g'", "TEXT"),
        ("ledger", "stream", "upper(stream)", "TEXT"),
        ("ledger", "stream", "stream || char(0)", "TEXT"),
        ("ledger", "version", "'one'", "INTEGER"),
        ("ledger", "position", "1.5", "INTEGER"),
        ("ledger", "actor", "x'00'", "TEXT"),
        ("ledger", "leaf", "CAST(hex(leaf) AS TEXT)", "BLOB"),
        ("ticket_events", "originator_id", "'g'", "TEXT"),
        ("ticket_events", "state", "CAST(state AS TEXT)", "BLOB"),
        ("ticket_events", "topic", "x'00'", "TEXT"),
        ("tickets", "row", "CAST(row AS TEXT)", "BLOB"),
        ("tickets", "row", "1", "BLOB"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_value_of_another_type_is_found(
    record: Record, table: str, column: str, value: str, type_: str
) -> None:
    """SQLite accepts it; unreadable or unread values must not hide anything."""
    key = {"ledger": "position", "ticket_events": "rowid", "tickets": "user_ext_id"}[table]
    [first] = record.one(f"SELECT min({key}) FROM {table}")
    record.sql(f"UPDATE {table} SET {column} = {value} WHERE {key} = ?", first)

    record.sql("UPDATE tickets SET version = 900 WHERE user_ext_id = 'user-2'")

    fault, *others = record.check().faults

    assert f"client {CLIENT!r}, user 'user-2': the read row differs from the replayed one" in others
    assert not [other for other in others if "cannot be checked" in other]
    assert fault.startswith(f"table {table}, ")
    assert fault.endswith(f": column {column} is not {'a stream id' if column in STREAMS else type_}")


def test_a_client_whose_size_is_removed_is_checked(record: Record) -> None:
    record.sql("UPDATE ledger SET actor = 'mallory' WHERE position = 1")
    record.sql("DELETE FROM ledger_sizes WHERE client_ext_id = ?", CLIENT)

    faults = record.check().faults

    assert any("position 1, " in fault and "column actor" in fault for fault in faults)
    assert f"client {CLIENT!r}: its stored size is wrong, there are 19 entries" in faults


def test_a_client_with_only_checkpoints_left_is_checked(record: Record) -> None:
    for table in ("ledger", "ledger_sizes", "tickets", "outbox", "recipients"):
        record.sql(f"DELETE FROM {table} WHERE client_ext_id = ?", CLIENT)
    record.sql("DELETE FROM ticket_events WHERE originator_version > 0")

    assert record.check().faults == [
        f"client {CLIENT!r}: a checkpoint covers 18 entries, but the ledger has only 0"
    ]


def test_every_event_contains_its_stream_or_follows_one_that_does() -> None:
    """A new event with a client, or a new kind of stream, must derive its origin (Event.origin)."""
    names_its_stream = {
        "TicketCreated",
        "TicketImported",
        *(topic for topic in EVENTS if topic.startswith("TicketDeliver")),
        "PolicyDefined",
        AccessNoted.TOPIC,
        "SubscriptionDefined",
        "BulkJobStarted",
        *(topic for topic in EVENTS if topic.startswith("User")),
    }

    assert names_its_stream == {
        topic for topic, event in EVENTS.items() if "client_ext_id" in event.__dataclass_fields__
    }


def test_a_checkpoint_signed_with_another_key_is_found(record: Record, tmp_path: Path) -> None:
    sign_with_another_key(record, tmp_path)

    assert any("not signed by a key of this service" in fault for fault in record.check().faults)


def test_a_ledger_without_checkpoints_is_compared_with_external_ones(record: Record) -> None:
    outside = record.sign()
    rewrite_a_stream_with_its_ledger_rows(record)
    record.sql("DELETE FROM checkpoints WHERE client_ext_id = ?", CLIENT)

    assert any("differ from the signed ones" in fault for fault in record.check((outside,)).faults)


@pytest.mark.parametrize(
    "tamper", [rewrite_a_stream_with_its_ledger_rows, cut_off_the_end_of_the_ledger, swap_two_entries]
)
def test_a_ledger_inconsistent_with_its_last_checkpoint_is_not_signed(
    record: Record, tamper: Callable[[Record], None]
) -> None:
    tamper(record)

    with pytest.raises(LedgerBroken):
        record.sign()


def test_evidence_of_a_changed_event_does_not_verify(record: Record) -> None:
    assert verify(record.evidence(), record.public()).events == 6
    record.sign(heads=StreamHeads())
    change_a_byte(record)

    with pytest.raises(Wrong, match="the events are not in the signed ledger as they stand here"):
        verify(record.evidence(), record.public())


def test_evidence_without_its_newest_event_does_not_verify(record: Record) -> None:
    files = unzip(record.evidence())
    lines = files["events.jsonl"].splitlines(keepends=True)
    shorter = files | {"events.jsonl": b"".join(lines[:-1])}

    with pytest.raises(Wrong, match=r"events.jsonl is not the file that was signed"):
        verify(zipped(shorter), record.public())


def test_no_random_change_of_a_byte_of_the_evidence_passes(record: Record, chance: random.Random) -> None:
    content = record.evidence()
    public = record.public()
    for _ in range(1000):
        changed = bytearray(content)
        place = chance.randrange(len(changed))
        changed[place] ^= chance.randrange(1, 256)
        with pytest.raises(Wrong):
            verify(bytes(changed), public)


def test_one_changed_node_of_a_proof_is_found(record: Record) -> None:
    files = unzip(record.evidence())
    nodes = files["nodes"]
    changed = files | {"nodes": bytes([nodes[0] ^ 1]) + nodes[1:]}

    with pytest.raises(Wrong, match="nodes is not the file that was signed"):
        verify(zipped(changed), record.public())
    signed = changed | {"manifest": manifest_of(changed, record.keys.sign)}
    with pytest.raises(Wrong, match="the events are not in the signed ledger as they stand here"):
        verify(zipped(signed), record.public())


def test_the_previous_key_also_signs_for_a_while_after_a_rotation(record: Record) -> None:
    [old] = record.public()
    record.service.clock.advance(timedelta(seconds=1))
    record.keys.rotate()
    content = record.evidence()

    assert verify(content, [old]).events == verify(content, record.public()[:1]).events == 6
    record.service.clock.advance(timedelta(days=31))
    record.service.regenerate()
    with pytest.raises(Wrong, match="not signed by the given key"):
        verify(record.evidence(), [old])


def test_old_checkpoints_stay_valid_when_a_user_is_erased(record: Record) -> None:
    older = record.sign()
    record.service.erase()

    assert verify(record.evidence(), record.public(), older.note.encode()).events == 7
    assert record.check().faults == []


def test_rebuilding_gives_the_same_bytes(record: Record) -> None:
    change_the_read_row(record)
    record.sql("DELETE FROM tickets WHERE user_ext_id = ?", "user-1")
    assert len(record.check().faults) == 2

    findings = record.rebuild()

    assert (findings.rows, findings.faults) == (USERS, [])
    assert record.check().faults == []
