"""The table of subscriptions: the same statements on both stores."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import msgspec

from application.subscriptions.records import (
    LEDGER_SIZES,
    SUBSCRIPTIONS,
    Progress,
    StoredSubscription,
    SubscriptionHead,
)
from application.transaction.records import Change
from domain.subscriptions.subscription import Method, Status, SubscriptionKey, SubscriptionState
from interface.outbound.sql.codec import encode
from interface.outbound.sql.sql_tables import SqlTables
from interface.outbound.sql.table import Column, Derived, Loading, Row, Storing, Table, upsert

subscription_row = msgspec.json.Decoder(SubscriptionState).decode
_progress = msgspec.json.Decoder(Progress).decode

_SELECT = "SELECT row, sealed, acknowledged, progress FROM subscriptions"


def _is_pushed(state: SubscriptionState) -> int:
    return int(
        state.status is Status.ENABLED and state.terms.method is not Method.SET_POLL and not state.deleted
    )


_DERIVED = Derived(
    columns={
        "client_ext_id": Column("text", attrgetter("client_ext_id")),
        "name": Column("text", attrgetter("name")),
        "version": Column("bigint", attrgetter("version")),
        "row": Column("bytea", encode),
        "pushed": Column("bigint", _is_pushed),
        "deleted": Column("bigint", lambda state: int(state.deleted)),
    },
    decode=subscription_row,
    is_complete=False,
    seals=True,
)
_COLUMNS = {
    **_DERIVED.types,
    "sealed": "bytea",
    "acknowledged": "bigint",
    "progress": "bytea",
    "notice": "text",
}
# The pusher updates `acknowledged`; a change of the subscription does so only if it moves the position.
_ACKNOWLEDGED = """
CASE WHEN (SELECT moved FROM {new} AS changed WHERE changed.client_ext_id = stored.client_ext_id
           AND changed.name = stored.name) = 1 THEN excluded.acknowledged ELSE stored.acknowledged END
"""


def _write(_: SubscriptionKey, change: Change[StoredSubscription]) -> Row:
    assert change.row  # noqa: S101 - a deleted subscription keeps its row
    row, sealed, progress, moved, notice = change.row
    return (*_DERIVED.row(row), sealed, progress.acknowledged, encode(progress), notice, int(moved))


def _read(*columns: Any) -> tuple[SubscriptionKey, StoredSubscription]:
    subscribed = to_subscribed(columns)
    return subscribed.row.key, subscribed


SUBSCRIPTION_TABLE = Table(
    records=SUBSCRIPTIONS,
    store=Storing(
        columns={**_COLUMNS, "moved": "bigint"},
        statement=upsert("subscriptions", _DERIVED.key, list(_COLUMNS)).replace(
            "acknowledged = excluded.acknowledged", f"acknowledged = {_ACKNOWLEDGED}"
        ),
        write=_write,
    ),
    loading=Loading(
        prefix={"client_ext_id": "text"},
        columns={"row": "bytea", "sealed": "bytea", "acknowledged": "bigint", "progress": "bytea"},
        read=_read,
    ),
    derived=_DERIVED,
)
LEDGER_SIZE_TABLE = Table(
    records=LEDGER_SIZES,
    loading=Loading(
        prefix={"client_ext_id": "text"},
        columns={"client_ext_id": "text", "size": "bigint"},
        read=lambda client_ext_id, size: (client_ext_id, size),
    ),
)


class SqlSubscriptions(SqlTables):
    """Implements the port Subscriptions; the port documents the methods."""

    def list_subscriptions(self, client_ext_id: str) -> Sequence[StoredSubscription]:
        """Return every subscription of a client that is not deleted, by name."""
        statement = f"{_SELECT} WHERE client_ext_id = ? AND deleted = 0 ORDER BY name"
        return [to_subscribed(row) for row in self._fetch(statement, (client_ext_id,))]

    def subscription(self, key: SubscriptionKey) -> StoredSubscription | None:
        """Return a subscription; None if it is missing or deleted."""
        statement = f"{_SELECT} WHERE client_ext_id = ? AND name = ? AND deleted = 0"
        rows = self._fetch(statement, key)
        return to_subscribed(rows[0]) if rows else None

    def subscription_heads(self) -> Sequence[SubscriptionHead]:
        """Return the heads of all push subscriptions."""
        rows = self._fetch(
            "SELECT client_ext_id, name, version, notice FROM subscriptions WHERE pushed = 1", ()
        )
        return [
            SubscriptionHead(SubscriptionKey(client, name), version, notice)
            for client, name, version, notice in map(tuple, rows)
        ]

    def save_progress(self, kept: Sequence[tuple[SubscriptionKey, int, Progress]]) -> None:
        """Store the progress of subscriptions, except of those with another version by now."""
        self._run(
            "UPDATE subscriptions SET acknowledged = ?, progress = ?"
            " WHERE client_ext_id = ? AND name = ? AND version = ?",
            [(progress.acknowledged, encode(progress), *key, version) for key, version, progress in kept],
        )

    def save_notice(self, key: SubscriptionKey, notice: str) -> None:
        """Store a pending notice about a subscription for its receiver."""
        statement = "UPDATE subscriptions SET notice = ? WHERE client_ext_id = ? AND name = ?"
        self._run(statement, [(notice, *key)])

    def delete_notice(self, key: SubscriptionKey, notice: str) -> None:
        """Remove the pending notice."""
        statement = "UPDATE subscriptions SET notice = '' WHERE client_ext_id = ? AND name = ? AND notice = ?"
        self._run(statement, [(*key, notice)])

    def notice(self, key: SubscriptionKey) -> str:
        """Return the pending notice, or an empty text."""
        rows = self._fetch("SELECT notice FROM subscriptions WHERE client_ext_id = ? AND name = ?", key)
        return str(rows[0][0]) if rows else ""

    def subscription_seals(
        self, after: SubscriptionKey | None, limit: int
    ) -> Sequence[tuple[SubscriptionKey, bytes]]:
        """Return the sealed secrets of the next undeleted subscriptions of all clients, by key."""
        rows = self._fetch(
            "SELECT client_ext_id, name, sealed FROM subscriptions WHERE (client_ext_id, name) > (?, ?) AND deleted = 0"
            " ORDER BY client_ext_id, name LIMIT ?",
            (*(after or ("", "")), limit),
        )
        return [(SubscriptionKey(client, name), bytes(sealed)) for client, name, sealed in map(tuple, rows)]

    def reseal_subscription(self, key: SubscriptionKey, former: bytes, sealed: bytes) -> None:
        """Replace the sealed secret unless it has changed."""
        statement = "UPDATE subscriptions SET sealed = ? WHERE client_ext_id = ? AND name = ? AND sealed = ?"
        self._run(statement, [(sealed, *key, former)])


def to_subscribed(columns: Any) -> StoredSubscription:
    """Return the subscription of the columns row, sealed, acknowledged and progress."""
    row, sealed, acknowledged, progress = columns
    kept = msgspec.structs.replace(_progress(progress), acknowledged=acknowledged)
    return StoredSubscription(subscription_row(row), bytes(sealed), kept)
