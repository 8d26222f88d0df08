"""The statement that checks, in the transaction of a commit, that rows are unchanged; it fails if one has changed (ADR 23).

It runs when the ledgers of the clients are locked, and every change of these rows locks its ledger first.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from application.policies.records import POLICIES
from application.tickets.records import TICKETS
from application.transaction.known_rows import KnownLoad
from application.transaction.records import RecordSet
from application.users.records import USERS
from interface.outbound.sql.codec import encode
from interface.outbound.sql.postgres_session import Statement, Step, columns, required, unnest
from interface.outbound.sql.table import Row

Seal = Callable[[str, Row], bytes | None]
"""Returns the seal of a row of a table, of its columns key, version and content."""


class _Check(NamedTuple):
    """columns: of the relation `read`, with their types. source: joins those of its rows that are unchanged.

    values: returns the values of a load. detects_new: whether it detects a row that is added to those of a load.
    """

    columns: Mapping[str, str]
    source: str
    values: Callable[[KnownLoad, Seal], Row]
    detects_new: bool = False


def _stored(known: KnownLoad, seal: Seal) -> Row:
    if known.stored:
        return (*known.load.prefix, *known.stored)  # another release encodes a row in another way
    row = known.rows[known.load.prefix]
    content = (*known.load.prefix, row.version, encode(row))
    return (*content, seal(known.load.records.name, content))


def _versions(known: KnownLoad, _: Seal) -> Row:
    return (*known.load.prefix, len(known.rows), sum(row.version for row in known.rows.values()))


_SEALED = {
    "client_ext_id": "text",
    "user_ext_id": "text",
    "version": "bigint",
    "row": "bytea",
    "known_seal": "bytea",
}
_UNCHANGED = "USING (client_ext_id, user_ext_id, version, row) WHERE seal IS NOT DISTINCT FROM known_seal"
_CHECKS: Mapping[RecordSet[Any, Any], _Check] = {
    # By all sealed columns: a row that was changed without the service is loaded, and refused. And the versions of a user who
    # is registered again begin at 1.
    TICKETS: _Check(_SEALED, f"JOIN tickets {_UNCHANGED}", _stored),
    USERS: _Check(_SEALED, f"JOIN recipients {_UNCHANGED}", _stored),
    # A policy is never removed, and its versions only grow.
    POLICIES: _Check(
        {"client": "text", "number": "bigint", "versions": "bigint"},
        "WHERE (number, versions) = (SELECT count(*), coalesce(sum(version), 0) FROM policies WHERE client_ext_id = client)",
        _versions,
        detects_new=True,
    ),
}
CHECKABLE = {records: check.detects_new for records, check in _CHECKS.items()}


def _statement() -> Statement:
    """Return one statement for all checks, since each statement costs the server more than its look-ups."""
    conditions: list[str] = []
    types: list[str] = []
    for check in _CHECKS.values():
        first, kinds = len(types) + 1, list(check.columns.values())
        read = f"{unnest(kinds, first)} AS read ({', '.join(check.columns)})"
        conditions.append(f"(SELECT count(*) FROM {read} {check.source}) = cardinality(${first})")
        types += kinds
    return Statement(f"SELECT {required(' AND '.join(conditions))}", tuple(types))


_STATEMENT = _statement()


def check_steps(known: Sequence[KnownLoad], seal: Seal) -> list[Step]:
    """Return the statement that checks these rows."""
    if not known:
        return []
    values: dict[RecordSet[Any, Any], list[Row]] = {records: [] for records in _CHECKS}
    for one in known:
        values[one.load.records].append(_CHECKS[one.load.records].values(one, seal))
    arrays = [
        array for records, check in _CHECKS.items() for array in columns(values[records], len(check.columns))
    ]
    return [(_STATEMENT, arrays)]
