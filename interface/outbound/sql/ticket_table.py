"""The table of ticket credentials, and the queries on it."""

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec
from msgspec.structs import replace

from application.policies.records import POLICIES
from application.record.streams import column_date
from application.tickets.find_tickets import ExpiryPageKey, PageKey, TicketQuery
from application.tickets.records import TICKETS
from application.transaction.records import Change
from domain.shared.subject import Subject
from domain.tickets.state import TicketState
from domain.tickets.states import State
from interface.outbound.sql.codec import encode
from interface.outbound.sql.policy_table import POLICY_COLUMNS, to_policy
from interface.outbound.sql.row_seals import SqlRowSeals
from interface.outbound.sql.table import (
    CONTENT,
    SEAL,
    Column,
    Derived,
    Loading,
    Row,
    Storing,
    Table,
    sealed,
    upsert,
)

_decode = msgspec.json.Decoder(TicketState).decode
# The other columns are for searches. A deleted ticket has a separate state, so that no search finds it.
_DELETED = "deleted"


def to_ticket(row: bytes) -> TicketState:
    """Return the state of a row. The row of a deleted ticket that release 1.0 wrote has a comment, which is ignored."""
    state = _decode(row)
    return replace(state, modification_comment=None) if state.deleted else state


def _state_name(state: TicketState) -> str:
    return _DELETED if state.deleted else state.state_name


def _locked_until(state: TicketState) -> str:
    return column_date(state.locked_until) if state.locked_until else ""


DERIVED = Derived(
    columns={
        "client_ext_id": Column("text", attrgetter("client_ext_id")),
        "user_ext_id": Column("text", attrgetter("user_ext_id")),
        "version": Column("bigint", attrgetter("version")),
        "row": Column("bytea", encode),
        "state_name": Column("text", _state_name),
        "locked_until": Column("text", _locked_until),
        "policy_ext_id": Column("text", attrgetter("policy_ext_id")),
        "valid_to": Column("text", lambda state: column_date(state.valid_to)),
        "last_modified": Column("text", lambda state: column_date(state.last_modified)),
        "expiry_step": Column("bigint", attrgetter("expiry_step")),
    },
    decode=to_ticket,
    seals=True,
)


def _write(_: Subject, change: Change[TicketState]) -> Row:
    assert change.row  # noqa: S101 - a credential is never removed
    return DERIVED.row(change.row)


def _read(row: bytes) -> tuple[Subject, TicketState]:
    state = to_ticket(row)
    return state.subject, state


TICKET_TABLE = Table(
    records=TICKETS,
    store=Storing(
        columns={**DERIVED.types, SEAL: "bytea"},
        # An erasure writes the row without an event, so without a conflict with another process.
        statement=upsert(
            "tickets", DERIVED.key, [*DERIVED.columns, SEAL], "WHERE stored.version <= excluded.version"
        ),
        write=_write,
    ),
    loading=Loading(
        prefix=dict.fromkeys(DERIVED.key, "text"), columns=sealed(DERIVED.key), read=_read, is_sealed=True
    ),
    derived=DERIVED,
)
# Step 0: TicketExpirySoon is due. Step 1: TicketExpired is due. Each part is a range of one index.
_SEALED = ", ".join(sealed(DERIVED.key))
_EXPIRING = f"""
SELECT {_SEALED} FROM (
    SELECT {_SEALED}, valid_to FROM tickets WHERE expiry_step = 0 AND valid_to <= ?
    UNION ALL
    SELECT {_SEALED}, valid_to FROM tickets WHERE expiry_step = 1 AND valid_to <= ?
) AS expiring
WHERE (valid_to, client_ext_id, user_ext_id) > (?, ?, ?)
ORDER BY valid_to, client_ext_id, user_ext_id LIMIT ?
"""


class SqlTickets(SqlRowSeals):
    """Implements the port Tickets."""

    def find_tickets(self, query: TicketQuery, after: PageKey | None, limit: int) -> Sequence[TicketState]:
        """Return the next matching tickets, in the query's order."""
        condition, parameters = _conditions(query, after)
        rows = self._fetch(f"SELECT {_SEALED} FROM tickets WHERE {condition} LIMIT ?", (*parameters, limit))
        return [to_ticket(row) for row in self._contents(TICKETS, rows)]

    def expiring(
        self, ended: datetime, soon: datetime, after: ExpiryPageKey | None, limit: int
    ) -> Sequence[TicketState]:
        """Return the next live tickets with a due expiry event, without a check of their seals: a command loads them again."""
        place = (column_date(after.valid_to), *after[1:]) if after else ("", "", "")
        rows = self._fetch(_EXPIRING, (column_date(soon), column_date(ended), *place, limit))
        return [to_ticket(row[CONTENT]) for row in rows]

    def longest_warning_days(self) -> int:
        """Return the longest closeToExpirationThreshold of any policy that is not refused; -1 without policies."""
        rows = map(tuple, self._fetch(f"SELECT {POLICY_COLUMNS} FROM policies", ()))
        policies = [to_policy(row[CONTENT]).policy for row in rows if self._accepts(POLICIES, row)]
        return max((policy.close_to_expiration_threshold for policy in policies), default=-1)


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
