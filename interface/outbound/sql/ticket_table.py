"""The table of ticket credentials, and the queries on it."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec

from application.record.streams import column_date
from application.tickets.find_tickets import ExpiryPageKey, PageKey, TicketQuery
from application.tickets.records import TICKETS
from application.transaction.records import Change
from domain.shared.subject import Subject
from domain.tickets.state import TicketState
from domain.tickets.states import State
from interface.outbound.sql.codec import encode
from interface.outbound.sql.policy_table import to_policy
from interface.outbound.sql.sql_tables import SqlTables
from interface.outbound.sql.table import Loading, Row, Storing, Table, upsert

to_ticket = msgspec.json.Decoder(TicketState).decode
# The other columns are for searches. A deleted ticket has a separate state, so that no search finds it.
_DELETED = "deleted"
_KEY = ("client_ext_id", "user_ext_id")
COLUMNS = {
    "client_ext_id": "text",
    "user_ext_id": "text",
    "version": "bigint",
    "row": "bytea",
    "state_name": "text",
    "locked_until": "text",
    "policy_ext_id": "text",
    "valid_to": "text",
    "last_modified": "text",
    "expiry_step": "bigint",
}


def ticket_columns(state: TicketState) -> Row:
    """Return a ticket as the columns of its table."""
    return (
        *state.subject,
        state.version,
        encode(state),
        _DELETED if state.deleted else state.state_name,
        column_date(state.locked_until) if state.locked_until else "",
        state.policy_ext_id,
        column_date(state.valid_to),
        column_date(state.last_modified),
        state.expiry_step,
    )


def _write(_: Subject, change: Change[TicketState]) -> Row:
    assert change.row  # noqa: S101 - a credential is never removed
    return ticket_columns(change.row)


def _read(row: bytes) -> tuple[Subject, TicketState]:
    state = to_ticket(row)
    return state.subject, state


TICKET_TABLE = Table(
    records=TICKETS,
    store=Storing(columns=COLUMNS, statement=upsert("tickets", _KEY, list(COLUMNS)), write=_write),
    loading=Loading(prefix=dict.fromkeys(_KEY, "text"), columns={"row": "bytea"}, read=_read),
)
# A rebuild does not replace rows that are newer meanwhile.
_REBUILD = upsert("tickets", _KEY, list(COLUMNS), "WHERE stored.version <= excluded.version").replace(
    f"SELECT {', '.join(COLUMNS)} FROM {{new}} WHERE true", f"VALUES ({', '.join('?' * len(COLUMNS))})"
)
# Step 0: TicketExpirySoon is due. Step 1: TicketExpired is due. Each part is a range of one index.
_EXPIRING = """
SELECT row FROM (
    SELECT row, valid_to, client_ext_id, user_ext_id FROM tickets WHERE expiry_step = 0 AND valid_to <= ?
    UNION ALL
    SELECT row, valid_to, client_ext_id, user_ext_id FROM tickets WHERE expiry_step = 1 AND valid_to <= ?
) AS expiring
WHERE (valid_to, client_ext_id, user_ext_id) > (?, ?, ?)
ORDER BY valid_to, client_ext_id, user_ext_id LIMIT ?
"""
_ROWS_AT_ONCE = 500


class SqlTickets(SqlTables):
    """Implements the port Tickets, and the reads of tickets for the check of the ledger."""

    def find_tickets(self, query: TicketQuery, after: PageKey | None, limit: int) -> Sequence[TicketState]:
        """Return the next matching tickets, in the query's order."""
        condition, parameters = _conditions(query, after)
        rows = self._fetch(f"SELECT row FROM tickets WHERE {condition} LIMIT ?", (*parameters, limit))
        return [to_ticket(row) for (row,) in rows]

    def expiring(
        self, ended: datetime, soon: datetime, after: ExpiryPageKey | None, limit: int
    ) -> Sequence[TicketState]:
        """Return the next live tickets with a due expiry event."""
        place = (column_date(after.valid_to), *after[1:]) if after else ("", "", "")
        rows = self._fetch(_EXPIRING, (column_date(soon), column_date(ended), *place, limit))
        return [to_ticket(row) for (row,) in rows]

    def longest_warning_days(self) -> int:
        """Return the longest closeToExpirationThreshold of any policy; -1 without policies."""
        policies = [to_policy(row).policy for (row,) in self._fetch("SELECT row FROM policies", ())]
        return max((policy.close_to_expiration_threshold for policy in policies), default=-1)

    def differing_rows(self, expected: Sequence[TicketState]) -> Sequence[Subject]:
        """Return the subjects whose stored row differs from the expected one."""
        wanted = {state.subject: ticket_columns(state) for state in expected}
        found: dict[Subject, Row] = {}
        subjects = list(wanted)
        for begin in range(0, len(subjects), _ROWS_AT_ONCE):
            chunk = subjects[begin : begin + _ROWS_AT_ONCE]
            marks = ",".join(["(?, ?)"] * len(chunk))
            rows = self._fetch(
                f"SELECT {', '.join(COLUMNS)} FROM tickets WHERE (client_ext_id, user_ext_id) IN (VALUES {marks})",
                [text for subject in chunk for text in subject],
            )
            for row in map(tuple, rows):
                subject, columns = Subject(row[0], row[1]), (*row[:3], bytes(row[3]), *row[4:])
                found[subject] = columns if columns == wanted[subject] else _of_this_release(columns)
        return [subject for subject, columns in wanted.items() if found.get(subject) != columns]

    def rewrite_rows(self, states: Sequence[TicketState]) -> None:
        """Store these rows, except those that are newer in the store."""
        self._run(_REBUILD, [ticket_columns(state) for state in states])


def _of_this_release(columns: Row) -> Row:
    """Return the columns with the row re-encoded by this release: rows only grow, by fields with defaults."""
    client, user, version, row, *searched = columns
    with suppress(ValueError, RecursionError):
        row = encode(to_ticket(row))
    return client, user, version, row, *searched


def _conditions(query: TicketQuery, after: PageKey | None) -> tuple[str, list[Any]]:
    """Return the condition and the order of a search in SQL, and its parameters."""
    now = column_date(query.now)
    wanted: list[tuple[str, list[Any]]] = [("client_ext_id = ?", [query.client_ext_id])]
    match query.state:
        case None:
            wanted.append(("state_name <> ?", [_DELETED]))
        case State.ACTIVE:
            ran_out = "(state_name = ? OR (state_name = ? AND locked_until <= ?))"
            wanted.append((ran_out, [State.ACTIVE, State.TMP_LOCKED, now]))
        case State.TMP_LOCKED:
            wanted.append(("state_name = ? AND locked_until > ?", [State.TMP_LOCKED, now]))
        case state:
            wanted.append(("state_name = ?", [state]))
    if query.policy_ext_id:
        wanted.append(("policy_ext_id = ?", [query.policy_ext_id]))
    if query.expires_before:
        wanted.append(("valid_to < ?", [column_date(query.expires_before)]))
    # A page that continues by this column already starts after the bound; with both conditions, SQLite would scan from
    # the bound.
    if query.last_modified_after and not (after and query.order == "last_modified"):
        wanted.append(("last_modified > ?", [column_date(query.last_modified_after)]))
    if after:
        wanted.append((f"({query.order}, user_ext_id) > (?, ?)", [*after]))
    condition = " AND ".join(condition for condition, _ in wanted)
    parameters = [parameter for _, parameters in wanted for parameter in parameters]
    return f"{condition} ORDER BY {query.order}, user_ext_id", parameters
