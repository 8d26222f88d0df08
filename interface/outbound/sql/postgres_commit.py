"""The one statement that stores a transaction on PostgreSQL, in one round trip.

Each table is a step of a WITH query. PostgreSQL executes such steps in any order, so every other step reads the one that
grows the ledgers. That one locks its rows in the order of the clients: two batches never wait for each other, and no later
position of a client is assigned before this transaction ends.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from eventsourcing.persistence import StoredEvent

from application.record.streams import LedgerColumns, columns_of
from application.transaction.records import Changes
from interface.outbound.sql.table import Row, Storing
from interface.outbound.sql.tables import Tables

_EVENTS = {
    "client": "text",
    "stream": "uuid",
    "version": "bigint",
    "username": "text",
    "topic": "text",
    "occurred": "text",
    "actor": "text",
    "trace": "text",
    "state": "bytea",
}
_LEDGER = f"""
events_new ({", ".join(_EVENTS)}, number) AS (SELECT * FROM {{unnest}} WITH ORDINALITY),
grown AS (
    INSERT INTO ledger_sizes AS known (client_ext_id, size)
    SELECT client, count(*) FROM events_new GROUP BY client ORDER BY client
    ON CONFLICT (client_ext_id) DO UPDATE SET size = known.size + excluded.size
    RETURNING client_ext_id, size
),
numbered AS (
    SELECT events_new.*, size - count(*) OVER (PARTITION BY client)
           + row_number() OVER (PARTITION BY client ORDER BY number) AS place
    FROM events_new JOIN grown ON client_ext_id = client
),
events_stored AS (
    INSERT INTO ticket_events (originator_id, originator_version, topic, state)
    SELECT stream, version, topic, state FROM numbered ORDER BY number
),
ledger_stored AS (
    INSERT INTO ledger (client_ext_id, position, stream, version, user_ext_id, topic, occurred, actor, trace_id, leaf)
    SELECT client, place, stream, version, username, topic, occurred, actor, trace,
           ledger_leaf(client, place, stream, version, topic, state)
    FROM numbered
)"""


def commit_query(events: Sequence[StoredEvent], changes: Changes, tables: Tables) -> tuple[str, list[Any]]:
    """Return the statement for the tables that are not guarded, and its parameters."""
    ledger = [columns_of(*pair) for pair in zip(changes.events, changes.subjects, strict=True)]
    steps = tables.steps(changes, guarded=False)
    parameters = columns(list(map(_event_row, ledger, events)), len(_EVENTS)) if ledger else []
    for storing, rows in steps:
        parameters += columns(rows, len(storing.columns))
    return _statement(bool(ledger), tuple(storing for storing, _ in steps)), parameters


def guarded_queries(changes: Changes, tables: Tables) -> list[tuple[str, list[Any], int | None]]:
    """Return a statement for each step of the guarded tables, with its parameters and how many rows it must change (None: any)."""
    return [
        (
            f"WITH {_new('new', storing)} {storing.statement.format(new='new')}",
            columns(sorted(rows), len(storing.columns)),
            len(rows) if storing.is_counted else None,
        )
        for storing, rows in tables.steps(changes, guarded=True)
    ]


def columns(rows: Sequence[Row], width: int) -> list[Any]:
    """Turn rows into the arrays that unnest takes, so that any number of rows is one prepared statement."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def unnest(types: Sequence[str]) -> str:
    """Return the relation of such columns, given as arrays."""
    return f"unnest({', '.join(f'%s::{name}[]' for name in types)})"


@cache
def _statement(has_events: bool, steps: tuple[Storing[Any, Any], ...]) -> str:
    parts = [_LEDGER.format(unnest=unnest(list(_EVENTS.values())))] if has_events else []
    for number, storing in enumerate(steps):
        new = f"new_{number}"
        # A later step would otherwise run first, and lock rows before the ledger.
        after = " WHERE (SELECT count(*) FROM grown) >= 0" if has_events else ""
        parts += [_new(new, storing, after), f"stored_{number} AS ({storing.statement.format(new=new)})"]
    return f"WITH {', '.join(parts)} SELECT"


def _new(name: str, storing: Storing[Any, Any], after: str = "") -> str:
    types = list(storing.columns.values())
    return f"{name} ({', '.join(storing.columns)}) AS (SELECT * FROM {unnest(types)}{after})"


def _event_row(ledger: LedgerColumns, event: StoredEvent) -> Row:
    return (*ledger, event.state)
