"""The statements that store a transaction on PostgreSQL, in one round trip.

The first one grows the ledgers. It locks their rows in the order of the clients: two batches never wait for each other, and no
later position of a client is assigned before this transaction ends.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from eventsourcing.persistence import StoredEvent

from application.record.streams import columns_of
from application.transaction.known_rows import KnownLoad
from application.transaction.records import Changes
from interface.outbound.sql.postgres_checks import check_steps
from interface.outbound.sql.postgres_session import Statement, Step, columns, required, unnest
from interface.outbound.sql.table import Row, Storing
from interface.outbound.sql.tables import Tables

_GROWN = ("text", "bigint")
_GROW = Statement(
    "INSERT INTO ledger_sizes AS known (client_ext_id, size)"
    f" SELECT * FROM {unnest(_GROWN)} ON CONFLICT (client_ext_id) DO UPDATE SET size = known.size + excluded.size",
    _GROWN,
)
_EVENT = ("uuid", "bigint", "text", "bytea")
_STORE_EVENTS = Statement(
    "INSERT INTO ticket_events (originator_id, originator_version, topic, state)"
    f" SELECT * FROM {unnest(_EVENT)}",
    _EVENT,
)
# following: the number of later entries of the same client.
_ENTRY = {
    "client": "text",
    "stream": "uuid",
    "version": "bigint",
    "username": "text",
    "topic": "text",
    "occurred": "text",
    "actor": "text",
    "trace": "text",
    "following": "bigint",
    "state": "bytea",
}
_STORE_ENTRIES = Statement(
    f"""
    INSERT INTO ledger (client_ext_id, position, stream, version, user_ext_id, topic, occurred, actor, trace_id, leaf)
    SELECT client, size - following, stream, version, username, topic, occurred, actor, trace,
           ledger_leaf(client, size - following, stream, version, topic, state)
    FROM {unnest(list(_ENTRY.values()))} AS new ({", ".join(_ENTRY)}) JOIN ledger_sizes ON client_ext_id = client
    """,
    tuple(_ENTRY.values()),
)


def commit_steps(
    events: Sequence[StoredEvent], changes: Changes, tables: Tables, known: Sequence[KnownLoad] = ()
) -> list[Step]:
    """Return the statements that store the changes; one fails (`required`) if a guarded or known row has changed."""
    steps: list[Step] = []
    if events:
        entries = _entries(events, changes)
        counts = sorted(Counter(entry[0] for entry in entries).items())
        stored = [
            (event.originator_id, event.originator_version, event.topic, event.state) for event in events
        ]
        steps += [
            (_GROW, columns(counts, len(_GROWN))),
            *check_steps(known, tables.seal),
            (_STORE_EVENTS, columns(stored, len(_EVENT))),
            (_STORE_ENTRIES, columns(entries, len(_ENTRY))),
        ]
    for guarded in (False, True):
        for storing, rows in tables.steps(changes, guarded=guarded):
            statement = _statement(storing, is_counted=guarded and storing.is_counted)
            steps.append((statement, columns(sorted(rows) if guarded else rows, len(storing.columns))))
    return steps


def _entries(events: Sequence[StoredEvent], changes: Changes) -> list[Row]:
    ledger = [columns_of(*pair) for pair in zip(changes.events, changes.subjects, strict=True)]
    following = Counter(entry.client_ext_id for entry in ledger)
    rows = []
    for entry, event in zip(ledger, events, strict=True):
        following[entry.client_ext_id] -= 1
        rows.append((*entry, following[entry.client_ext_id], event.state))
    return rows


@cache
def _statement(storing: Storing[Any, Any], *, is_counted: bool) -> Statement:
    types = tuple(storing.columns.values())
    new = f"WITH new ({', '.join(storing.columns)}) AS (SELECT * FROM {unnest(types)})"
    stored = storing.statement.format(new="new")
    if not is_counted:
        return Statement(f"{new} {stored}", types)
    # The client must not decide between two round trips.
    changed = f", changed AS ({stored} RETURNING 1)"
    return Statement(f"{new}{changed} SELECT {required('count(*) = cardinality($1)')} FROM changed", types)
