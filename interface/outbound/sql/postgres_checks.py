"""The statements that check, in the transaction of a commit, that rows are unchanged; they fail with DivisionByZero (ADR 23).

They run when the ledgers of the clients are locked, and every change of these rows locks its ledger first.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from application.policies.records import POLICIES
from application.tickets.records import TICKETS
from application.transaction.known_rows import KnownLoad
from application.transaction.records import RecordSet
from application.users.records import USERS
from interface.outbound.sql.codec import encode
from interface.outbound.sql.postgres_session import Statement, Step, unnest
from interface.outbound.sql.table import Row


class _Check(NamedTuple):
    """detects_new: whether it detects a row that is added to those of a load. values: returns the values of a load to check."""

    statement: Statement
    detects_new: bool
    values: Callable[[KnownLoad], Row]


def _check(
    columns: Mapping[str, str],
    source: str,
    values: Callable[[KnownLoad], Row],
    *,
    detects_new: bool = False,
) -> _Check:
    types = tuple(columns.values())
    text = (
        "SELECT 1 / (count(*) = cardinality($1))::integer"
        f" FROM {unnest(types)} AS read ({', '.join(columns)}) {source}"
    )
    return _Check(Statement(text, types), detects_new, values)


def _content(known: KnownLoad) -> Row:
    # Another release encodes a row differently.
    return (*known.load.prefix, known.content or encode(known.rows[known.load.prefix]))


def _versions(known: KnownLoad) -> Row:
    return (*known.load.prefix, len(known.rows), sum(row.version for row in known.rows.values()))


_CONTENT = {"client_ext_id": "text", "user_ext_id": "text", "row": "bytea"}
_CHECKS: Mapping[RecordSet[Any, Any], _Check] = {
    # By content: a row that was changed without the service is loaded, and refused. And the versions of a user who is
    # registered again begin at 1.
    TICKETS: _check(_CONTENT, "JOIN tickets USING (client_ext_id, user_ext_id, row)", _content),
    USERS: _check(_CONTENT, "JOIN recipients USING (client_ext_id, user_ext_id, row)", _content),
    # A policy is never removed, and its versions only grow.
    POLICIES: _check(
        {"client": "text", "number": "bigint", "versions": "bigint"},
        "WHERE (number, versions) = (SELECT count(*), coalesce(sum(version), 0) FROM policies WHERE client_ext_id = client)",
        _versions,
        detects_new=True,
    ),
}
CHECKABLE = {records: check.detects_new for records, check in _CHECKS.items()}


def check_steps(known: Sequence[KnownLoad]) -> list[Step]:
    """Return the statements that check these rows."""
    found: dict[_Check, list[Row]] = {}
    for one in known:
        check = _CHECKS[one.load.records]
        found.setdefault(check, []).append(check.values(one))
    return [(check.statement, list(zip(*values, strict=True))) for check, values in found.items()]
