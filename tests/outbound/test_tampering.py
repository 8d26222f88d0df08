"""Each way to change the record behind the service's back is found, and named (both stores)."""

import base64
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from application.checkpoint import make_checkpoint
from application.evidence import FILES, make_evidence, zip_of
from application.ledger import Checkpoint, LedgerBroken, leaf_of
from application.merkle import root_of
from application.replay import Findings, check_ledger, check_streams, rebuild, stream_ranges
from domain.ticket_credential import stream_id
from interface.outbound.ledger_keys import LedgerKeys, NoteVerifier
from interface.outbound.postgres_store import PostgresStore
from interface.outbound.sqlite_store import SqliteStore
from interface.verify_evidence import Wrong, parse_keys, unzip, verify
from tests.support.evidence import open_store
from tests.support.fakes import SUBJECT
from tests.support.service import Service, service_over

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
        findings = check_ledger(CLIENT, ledger=self.store, verifier=verifier, outside=outside)
        findings.faults.extend(self.store.strays())
        for begin, end in stream_ranges(2):
            findings.add(check_streams(CLIENT, begin, end, ledger=self.store))
        return findings

    def evidence(self, **options: Any) -> bytes:
        return make_evidence(
            SUBJECT, ledger=self.store, signer=self.keys, clock=self.service.clock, **options
        )

    def public(self) -> list[Any]:
        return parse_keys("\n".join(key for _, key in self.keys.public()))

    def rewrite_ledger(self) -> None:
        """Do what somebody with the database, but without the key, can do: make every leaf fit again."""
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
        for number in range(USERS):
            subject = SUBJECT._replace(user_ext_id=SUBJECT.user_ext_id if not number else f"user-{number}")
            service.register(subject=subject)
            service.create(subject=subject)
            for _ in range(RESETS):
                service.regenerate(subject=subject)
        record.sign()
        service.regenerate()
        yield record
    store.close()


def test_a_record_that_nobody_changed_is_whole(record: Record) -> None:
    record.sign()
    findings = record.check()

    assert findings.faults == []
    assert (findings.events, findings.credentials, findings.checkpoints) == (16, 3, 2)


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


def cut_off_the_newest(record: Record) -> None:
    size = record.store.size(CLIENT)
    record.sql("DELETE FROM ticket_events WHERE originator_id = ? AND originator_version >= 5", STREAM)
    for position in (5, size):
        record.sql("DELETE FROM ledger WHERE client_ext_id = ? AND position = ?", CLIENT, position)
    record.sql("UPDATE ledger_sizes SET size = ? WHERE client_ext_id = ?", size - 2, CLIENT)


def cut_off_the_end_of_the_ledger(record: Record) -> None:
    for position in (15, 16):
        _, stream, version = record.one(
            "SELECT client_ext_id, stream, version FROM ledger WHERE position = ?", position
        )
        record.sql(
            "DELETE FROM ticket_events WHERE originator_id = ? AND originator_version = ?", stream, version
        )
        record.sql("DELETE FROM ledger WHERE client_ext_id = ? AND position = ?", CLIENT, position)
    record.sql("UPDATE ledger_sizes SET size = 14 WHERE client_ext_id = ?", CLIENT)


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
    (change_a_byte, "version 3: the event is not the one in the ledger"),
    (delete_an_event, "version 3: the event is missing"),
    (delete_an_event_and_its_entry, "position 3 is missing"),
    (cut_off_the_newest, "position 5 is missing"),
    (cut_off_the_end_of_the_ledger, "15 entries were signed, but the ledger has only 14"),
    (swap_two_events, "version 2: the event is not the one in the ledger"),
    (swap_two_entries, "the first 15 entries are not those that were signed"),
    (insert_an_event, "version 7: the event is in no ledger"),
    (rewrite_a_stream_with_its_ledger_rows, "the first 15 entries are not those that were signed"),
    (change_the_read_row, f"user {SUBJECT.user_ext_id!r}: the read row is not what its events lead to"),
    (change_a_column_of_the_read_row, "the read row is not what its events lead to"),
    (rebuild_the_ledger_without_the_key, "the checkpoint of 15 entries is not signed by a key of ours"),
]


@pytest.mark.parametrize(("tamper", "said"), TAMPERING, ids=[tamper.__name__ for tamper, _ in TAMPERING])
def test_tampering_is_found_and_its_place_named(
    record: Record, tamper: Callable[[Record], None], said: str
) -> None:
    tamper(record)

    assert any(said in fault for fault in record.check().faults), record.check().faults


def test_a_checkpoint_signed_with_another_key_is_found(record: Record, tmp_path: Path) -> None:
    sign_with_another_key(record, tmp_path)

    assert any("not signed by a key of ours" in fault for fault in record.check().faults)


def test_a_ledger_without_its_checkpoints_is_held_against_those_outside(record: Record) -> None:
    outside = record.sign()
    rewrite_a_stream_with_its_ledger_rows(record)
    record.sql("DELETE FROM checkpoints WHERE client_ext_id = ?", CLIENT)

    assert any("not those that were signed" in fault for fault in record.check((outside,)).faults)


@pytest.mark.parametrize(
    "tamper", [rewrite_a_stream_with_its_ledger_rows, cut_off_the_end_of_the_ledger, swap_two_entries]
)
def test_what_does_not_go_on_from_the_last_checkpoint_is_not_signed(
    record: Record, tamper: Callable[[Record], None]
) -> None:
    tamper(record)

    with pytest.raises(LedgerBroken):
        record.sign()


def test_evidence_of_a_changed_event_does_not_verify(record: Record) -> None:
    assert verify(record.evidence(), record.public()).events == 6
    record.sign(with_heads=True)
    change_a_byte(record)

    with pytest.raises(Wrong, match=r"event 3 \(position 3, TicketRegenerated\) is not in the signed ledger"):
        verify(record.evidence(), record.public())


def test_evidence_without_its_newest_event_does_not_verify(record: Record) -> None:
    files = unzip(record.evidence())
    lines = files["events.jsonl"].splitlines(keepends=True)
    shorter = files | {"events.jsonl": b"".join(lines[:-1])}

    with pytest.raises(Wrong, match=r"events.jsonl is not the file that was signed"):
        verify(zip_of(shorter), record.public())


def test_no_random_change_of_a_byte_of_the_evidence_passes(record: Record) -> None:
    content, chance = record.evidence(), random.Random(5)
    public = record.public()
    for _ in range(1000):
        changed = bytearray(content)
        place = chance.randrange(len(changed))
        changed[place] ^= chance.randrange(1, 256)
        with pytest.raises(Wrong):
            verify(bytes(changed), public)


def test_one_changed_node_of_a_proof_is_found(record: Record) -> None:
    files = unzip(record.evidence())
    position = files["events.jsonl"].index(b'"proof":["') + 10
    node = files["events.jsonl"]
    changed = files | {
        "events.jsonl": node[:position] + (b"B" if node[position] != 66 else b"C") + node[position + 1 :]
    }

    with pytest.raises(Wrong, match="is not the file that was signed"):
        verify(zip_of({name: changed[name] for name in FILES}), public := record.public())
    assert public


def test_a_rotated_key_signs_beside_the_one_before_for_a_while(record: Record) -> None:
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

    count = sum(rebuild(CLIENT, begin, end, ledger=record.store) for begin, end in stream_ranges(2))

    assert count == USERS
    assert record.check().faults == []
