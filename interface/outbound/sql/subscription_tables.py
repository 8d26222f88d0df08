"""The table of subscriptions: the same statements on both stores."""

from collections.abc import Sequence
from typing import Any

import msgspec

from application.model.subscription_row import Progress, Subscribed, SubscriptionChange, SubscriptionHead
from domain.subscriptions.subscription import Method, Status, SubscriptionKey, SubscriptionState
from interface.outbound.sql.records import Row
from interface.outbound.sql.sql_tables import SqlTables

_encode = msgspec.json.Encoder().encode
subscription_row = msgspec.json.Decoder(SubscriptionState).decode
_progress = msgspec.json.Decoder(Progress).decode

# How far it got is the pusher's to say; a change of the subscription says it only where it moves it.
UPSERT = """
INSERT INTO subscriptions AS stored
    (client_ext_id, name, version, row, sealed, pushed, deleted, acknowledged, progress, notice)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (client_ext_id, name) DO UPDATE SET
    version = excluded.version, row = excluded.row, sealed = excluded.sealed, pushed = excluded.pushed,
    deleted = excluded.deleted, progress = excluded.progress, notice = excluded.notice,
    acknowledged = CASE WHEN ? THEN excluded.acknowledged ELSE stored.acknowledged END
"""
_SELECT = "SELECT row, sealed, acknowledged, progress FROM subscriptions"
OF_CLIENT = f"{_SELECT} WHERE client_ext_id = ? ORDER BY name"


class SqlSubscriptions(SqlTables):
    """Implements the port Subscriptions; see there for what the methods promise."""

    def list_subscriptions(self, client_ext_id: str) -> Sequence[Subscribed]:
        """Return every subscription of a client that is not deleted, by name."""
        statement = f"{_SELECT} WHERE client_ext_id = ? AND deleted = 0 ORDER BY name"
        return [to_subscribed(row) for row in self._fetch(statement, (client_ext_id,))]

    def subscription(self, key: SubscriptionKey) -> Subscribed | None:
        """Return a subscription; None where there is none, or it is deleted."""
        statement = f"{_SELECT} WHERE client_ext_id = ? AND name = ? AND deleted = 0"
        rows = self._fetch(statement, key)
        return to_subscribed(rows[0]) if rows else None

    def subscription_heads(self) -> Sequence[SubscriptionHead]:
        """Return the heads of all subscriptions that are pushed."""
        rows = self._fetch(
            "SELECT client_ext_id, name, version, notice FROM subscriptions WHERE pushed = 1", ()
        )
        return [SubscriptionHead(SubscriptionKey(*row[:2]), row[2], row[3]) for row in map(tuple, rows)]

    def keep_progress(self, kept: Sequence[tuple[SubscriptionKey, int, Progress]]) -> None:
        """Keep how far subscribers got, each unless the subscription has another version by now."""
        self._run(
            "UPDATE subscriptions SET acknowledged = ?, progress = ?"
            " WHERE client_ext_id = ? AND name = ? AND version = ?",
            [(progress.acknowledged, _encode(progress), *key, version) for key, version, progress in kept],
        )

    def leave_notice(self, key: SubscriptionKey, notice: str) -> None:
        """Keep what is still to be said about a subscription to its receiver."""
        statement = "UPDATE subscriptions SET notice = ? WHERE client_ext_id = ? AND name = ?"
        self._run(statement, [(notice, *key)])

    def take_notice(self, key: SubscriptionKey, notice: str) -> None:
        """Forget it."""
        statement = "UPDATE subscriptions SET notice = '' WHERE client_ext_id = ? AND name = ? AND notice = ?"
        self._run(statement, [(*key, notice)])

    def notice(self, key: SubscriptionKey) -> str:
        """Return what is still to be said; empty: nothing."""
        rows = self._fetch("SELECT notice FROM subscriptions WHERE client_ext_id = ? AND name = ?", key)
        return str(rows[0][0]) if rows else ""

    def subscription_seals(
        self, after: SubscriptionKey | None, limit: int
    ) -> Sequence[tuple[SubscriptionKey, bytes]]:
        """Return what is sealed of the next subscriptions of all, by key; of those that are deleted nothing."""
        rows = self._fetch(
            "SELECT client_ext_id, name, sealed FROM subscriptions WHERE (client_ext_id, name) > (?, ?) AND deleted = 0"
            " ORDER BY client_ext_id, name LIMIT ?",
            (*(after or ("", "")), limit),
        )
        return [(SubscriptionKey(client, name), bytes(sealed)) for client, name, sealed in map(tuple, rows)]

    def reseal_subscription(self, key: SubscriptionKey, former: bytes, sealed: bytes) -> None:
        """Put another seal in the place of the former one, if that is still there."""
        statement = "UPDATE subscriptions SET sealed = ? WHERE client_ext_id = ? AND name = ? AND sealed = ?"
        self._run(statement, [(sealed, *key, former)])


def subscription_columns(change: SubscriptionChange) -> Row:
    """Return a subscription as the parameters of UPSERT."""
    row, sealed, progress = change.subscribed
    pushed = row.status is Status.ENABLED and row.terms.method is not Method.SET_POLL and not row.deleted
    return (
        *row.key,
        row.version,
        _encode(row),
        sealed,
        int(pushed),
        int(row.deleted),
        progress.acknowledged,
        _encode(progress),
        change.notice,
        change.moved,
    )


def to_subscribed(columns: Any) -> Subscribed:
    """Return the subscription behind the columns row, sealed, acknowledged and progress."""
    row, sealed, acknowledged, progress = columns
    kept = msgspec.structs.replace(_progress(progress), acknowledged=acknowledged)
    return Subscribed(subscription_row(row), bytes(sealed), kept)
