"""The outbox: the same statements on both stores, except for skipping locked rows."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from application.delivery.outbox import (
    DELIVERIES,
    OUTBOX,
    DeliveryKey,
    DeliveryProgress,
    OutboxEntry,
    OutboxStatus,
    PendingDelivery,
    RetryState,
)
from application.record.streams import column_date
from application.tickets.records import TICKETS
from application.transaction.records import Change
from application.users.records import USERS
from domain.policies.policy import TICKET_GROUP_SIZE, SendingMethod
from domain.shared.subject import Subject
from interface.outbound.sql.codec import encode
from interface.outbound.sql.outbox_check import outbox_faults
from interface.outbound.sql.row_seals import SqlRowSeals
from interface.outbound.sql.table import Loading, Row, Storing, Table
from interface.outbound.sql.ticket_table import to_ticket
from interface.outbound.sql.user_table import to_recipient


class _Terms(msgspec.Struct):
    """Delivery data that is fixed when the ticket is created. group_size: left out if it is the default."""

    methods: tuple[SendingMethod, ...] = (SendingMethod.EMAIL,)
    created: datetime | None = None
    reset_count: int | None = None
    correlation_id: str | None = None
    address_version: int | None = None
    group_size: int | msgspec.UnsetType = msgspec.UNSET


_terms = msgspec.json.Decoder(_Terms).decode
_to_retry_state = msgspec.json.Decoder(RetryState).decode

_KEY = "client_ext_id = ? AND stream = ? AND version = ?"
_ENTRY = "client_ext_id, user_ext_id, stream, version, sealed, minted, terms"
_PENDING = """
SELECT o.client_ext_id, o.user_ext_id, o.stream, o.version, o.sealed, o.minted, o.terms,
       r.version, r.row, r.seal, t.version, t.row, t.seal, o.trying, o.so_far, o.standing, o.next_try,
       (SELECT name FROM eras WHERE began <= o.minted ORDER BY number DESC LIMIT 1)
FROM outbox o
LEFT JOIN recipients r ON r.client_ext_id = o.client_ext_id AND r.user_ext_id = o.user_ext_id
LEFT JOIN tickets t ON t.client_ext_id = o.client_ext_id AND t.user_ext_id = o.user_ext_id
"""
# Tickets of a credential are delivered one after the other: otherwise a ticket could arrive after the one that replaces
# it. Of two that are leased together, the former is obsolete.
_IS_DUE = """
outbox.next_try <= ? AND outbox.leased_until <= ? AND NOT EXISTS (
    SELECT 1 FROM outbox former
    WHERE former.client_ext_id = outbox.client_ext_id AND former.stream = outbox.stream AND former.leased_until > ?
)
"""
_DUE = f"SELECT 1 FROM outbox WHERE {_IS_DUE} LIMIT 1"
_TAKE = f"""
UPDATE outbox SET lease = ?, leased_until = ? WHERE (client_ext_id, stream, version) IN (
    SELECT client_ext_id, stream, version FROM outbox WHERE {_IS_DUE} ORDER BY next_try LIMIT ? {{skipping}}
) RETURNING client_ext_id, stream, version
"""
# Locked rows are about to be removed; waiting for them while holding locks could deadlock.
_CHANGE_LEASES = """
UPDATE outbox SET {change} WHERE (client_ext_id, stream, version) IN (
    SELECT client_ext_id, stream, version FROM outbox
    WHERE lease = ? AND (client_ext_id, stream, version) IN ({keys}) {skipping}
) RETURNING version
"""
_COLUMNS = {
    "client_ext_id": "text",
    "user_ext_id": "text",
    "stream": "text",
    "version": "bigint",
    "sealed": "bytea",
    "minted": "text",
    "terms": "text",
}
_KEY_COLUMNS = {"client_ext_id": "text", "stream": "text", "version": "bigint"}
# A retry that was requested during the attempt is an event, and has set both columns.
_POSTPONE = f"""
UPDATE outbox SET trying = CASE so_far WHEN ? THEN ? ELSE trying END,
    next_try = CASE so_far WHEN ? THEN ? ELSE next_try END, lease = '', leased_until = ''
WHERE {_KEY} AND lease = ?
"""
# A retry keeps the lease of an attempt that is in progress.
_PROGRESS = """
UPDATE outbox SET standing = changed.standing, trying = changed.trying, next_try = changed.next_try, so_far = changed.so_far,
    lease = CASE changed.standing WHEN 'failed' THEN '' ELSE lease END,
    leased_until = CASE changed.standing WHEN 'failed' THEN '' ELSE leased_until END
FROM {new} AS changed
WHERE outbox.client_ext_id = changed.client_ext_id AND outbox.stream = changed.stream
    AND outbox.version = changed.version
"""
_END = """
DELETE FROM outbox WHERE (client_ext_id, stream, version) IN (SELECT client_ext_id, stream, version FROM {new})
"""


def _write_entry(_: DeliveryKey, change: Change[OutboxEntry]) -> Row:
    assert change.row  # noqa: S101 - the outcome of a delivery removes its row
    return outbox_columns(change.row)


def _write_progress(key: DeliveryKey, change: Change[DeliveryProgress]) -> Row:
    assert change.row  # noqa: S101 - this writes rows that are put
    event_count, status, retry_state, until = change.row
    next_try = column_date(until) if until else ""
    return (*key_columns(key), status.value, encode(retry_state).decode(), next_try, event_count)


def _read_delivery(
    client: str, stream: str, version: int, count: int
) -> tuple[DeliveryKey, DeliveryProgress]:
    return DeliveryKey(client, UUID(stream), version), DeliveryProgress(count)


OUTBOX_TABLE = Table(
    records=OUTBOX,
    store=Storing(
        columns=_COLUMNS,
        statement=f"INSERT INTO outbox ({', '.join(_COLUMNS)}) SELECT {', '.join(_COLUMNS)} FROM {{new}}",
        write=_write_entry,
    ),
    check=partial(outbox_faults, {"terms": _terms, "trying": _to_retry_state}),
)
DELIVERY_TABLE = Table(
    records=DELIVERIES,
    store=Storing(
        columns={
            **_KEY_COLUMNS,
            "standing": "text",
            "trying": "text",
            "next_try": "text",
            "so_far": "bigint",
        },
        statement=_PROGRESS,
        write=_write_progress,
    ),
    remove=Storing(columns=_KEY_COLUMNS, statement=_END, write=lambda key, _: key_columns(key)),
    loading=Loading(
        prefix={"client_ext_id": "text", "stream": "text"},
        columns={**_KEY_COLUMNS, "so_far": "bigint"},
        source="{wanted} JOIN outbox USING (client_ext_id, stream)",
        read=_read_delivery,
    ),
)


class SqlOutbox(SqlRowSeals):
    """Implements the port Outbox; the port documents the methods."""

    @abstractmethod
    def _change(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """Run a statement that changes rows, and return its result."""

    def take(self, lease: str, now: datetime, until: datetime, limit: int) -> Sequence[PendingDelivery]:
        """Lease the next due tickets; the port documents it."""
        moment = column_date(now)
        if not self._fetch(_DUE, (moment, moment, moment)):
            return []  # without a write, which would lock SQLite
        statement = _TAKE.format(skipping=self._skipping)
        taken = self._change(statement, (lease, column_date(until), moment, moment, moment, limit))
        if not taken:
            return []
        values, columns = _values([tuple(key) for key in taken])
        condition = f"WHERE (o.client_ext_id, o.stream, o.version) IN ({values})"
        rows = self._fetch(f"{_PENDING} {condition}", columns)
        return [self._pending(tuple(row)) for row in rows]

    def _pending(self, columns: Row) -> PendingDelivery:
        """Return the pending delivery of these columns of `_PENDING`; without a recipient and a ticket if one is refused."""
        entry, recipient, ticket, others = columns[:7], columns[7:10], columns[10:13], columns[13:]
        is_refused = not all(
            row[1] is None or self._accepts(records, (*entry[:2], *row))
            for records, row in ((USERS, recipient), (TICKETS, ticket))
        )
        contents = (None, None) if is_refused else (recipient[1], ticket[1])
        return replace(to_pending((*entry, *contents, *others)), is_refused=is_refused)

    def postpone(
        self, key: DeliveryKey, lease: str, event_count: int, retry_state: RetryState, next_try: datetime
    ) -> None:
        """Store the state of the attempts, and release the lease until the next one; the port documents it."""
        changes = (event_count, encode(retry_state).decode(), event_count, column_date(next_try))
        self._run(_POSTPONE, [(*changes, *key_columns(key), lease)])

    def extend(self, lease: str, keys: Sequence[DeliveryKey], until: datetime) -> None:
        """Extend the lease of those of these tickets that it still covers."""
        self._change_leases("leased_until = ?", [column_date(until)], lease, keys)

    def release_leases(self, lease: str, keys: Sequence[DeliveryKey]) -> None:
        """Release the lease of these tickets immediately."""
        self._change_leases("lease = '', leased_until = ''", [], lease, keys)

    def _change_leases(
        self, change: str, parameters: Sequence[str], lease: str, keys: Sequence[DeliveryKey]
    ) -> None:
        if keys:
            values, columns = _values([key_columns(key) for key in keys])
            statement = _CHANGE_LEASES.format(change=change, keys=values, skipping=self._skipping)
            self._change(statement, [*parameters, lease, *columns])

    def pending(self, subject: Subject) -> Sequence[PendingDelivery]:
        """Return the queued and failed tickets of a user, newest first."""
        condition = "WHERE o.client_ext_id = ? AND o.user_ext_id = ? ORDER BY o.version DESC"
        return [self._pending(tuple(row)) for row in self._fetch(f"{_PENDING} {condition}", subject)]

    def outbox_page(self, after: DeliveryKey | None, limit: int) -> Sequence[OutboxEntry]:
        """Return the next entries of all clients, by key."""
        start = key_columns(after) if after else ("", "", 0)
        condition = (
            "(client_ext_id, stream, version) > (?, ?, ?) ORDER BY client_ext_id, stream, version LIMIT ?"
        )
        rows = self._fetch(f"SELECT {_ENTRY} FROM outbox WHERE {condition}", (*start, limit))
        return [_to_entry(tuple(row)) for row in rows]

    def reseal(self, entry: OutboxEntry, sealed: bytes) -> None:
        """Replace the sealed ticket of an entry unless it has changed."""
        statement = f"UPDATE outbox SET sealed = ? WHERE {_KEY} AND sealed = ?"
        self._run(statement, [(sealed, *key_columns(entry.key), entry.sealed)])


def key_columns(key: DeliveryKey) -> tuple[str, str, int]:
    """Return a key as columns of the outbox, where the stream is text."""
    return key.client_ext_id, key.stream.hex, key.version


def _values(keys: Sequence[Row]) -> tuple[str, list[Any]]:
    """Return keys as a VALUES list in SQL, and its parameters."""
    marks = ",".join(["(?, ?, ?)"] * len(keys))
    return f"VALUES {marks}", [value for key in keys for value in key]


def outbox_columns(entry: OutboxEntry) -> Row:
    """Return an entry as its columns."""
    terms = _Terms(
        entry.methods,
        entry.created,
        entry.reset_count,
        entry.correlation_id,
        entry.address_version,
        msgspec.UNSET if entry.group_size == TICKET_GROUP_SIZE else entry.group_size,
    )
    return (
        *entry.subject,
        entry.stream.hex,
        entry.version,
        entry.sealed,
        encode(entry.minted)[1:-2].decode() + "+00:00",  # as isoformat writes a time in UTC
        encode(terms).decode(),
    )


def to_pending(columns: Row) -> PendingDelivery:
    """Return the pending delivery of the columns of the joined tables."""
    *entry, recipient, ticket, retry_state, event_count, status, next_try, era = columns
    return PendingDelivery(
        entry=_to_entry(tuple(entry)),
        recipient=to_recipient(recipient) if recipient else None,
        ticket=to_ticket(ticket) if ticket else None,
        retry_state=_to_retry_state(retry_state),
        event_count=event_count,
        status=OutboxStatus(status),
        next_try=datetime.fromisoformat(next_try) if next_try else None,
        era=era or "",
    )


def _to_entry(columns: Row) -> OutboxEntry:
    client_ext_id, user_ext_id, stream, version, sealed, minted, terms = columns
    fixed = _terms(terms)
    return OutboxEntry(
        Subject(client_ext_id, user_ext_id),
        UUID(stream),
        version,
        bytes(sealed),
        datetime.fromisoformat(minted),
        fixed.methods,
        fixed.created,
        fixed.reset_count,
        fixed.correlation_id,
        fixed.address_version,
        TICKET_GROUP_SIZE if fixed.group_size is msgspec.UNSET else fixed.group_size,
    )
