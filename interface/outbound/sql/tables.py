"""The table of every record set; a capability with a new one adds a line."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from application.transaction.records import Load, RecordSet
from interface.outbound.sql.answer_table import ACCESS_LOG_TABLE, ANSWER_TABLE
from interface.outbound.sql.outbox_tables import DELIVERY_TABLE, OUTBOX_TABLE, RETRY_TABLE
from interface.outbound.sql.policy_table import POLICY_TABLE
from interface.outbound.sql.subscription_tables import LEDGER_SIZE_TABLE, SUBSCRIPTION_TABLE
from interface.outbound.sql.table import LoadQuery, Table
from interface.outbound.sql.ticket_table import TICKET_TABLE
from interface.outbound.sql.user_table import USER_TABLE

TABLES: tuple[Table[Any, Any], ...] = (
    TICKET_TABLE,
    POLICY_TABLE,
    OUTBOX_TABLE,
    ANSWER_TABLE,
    USER_TABLE,
    SUBSCRIPTION_TABLE,
    DELIVERY_TABLE,
    RETRY_TABLE,
    ACCESS_LOG_TABLE,
    LEDGER_SIZE_TABLE,
)
_BY_RECORDS = {table.records: table for table in TABLES}


def load_query(loads: Sequence[Load], wanted: Callable[[Mapping[str, str]], str]) -> LoadQuery | None:
    """Return the query for these rows; None: no rows. wanted: returns the relation of prefixes with such columns."""
    prefixes: dict[RecordSet[Any, Any], list[tuple[Any, ...]]] = {}
    for records, prefix in loads:
        prefixes.setdefault(records, []).append(tuple(prefix))
    if not prefixes:
        return None
    tables = tuple(_BY_RECORDS[records] for records in prefixes)
    return LoadQuery(_statement(tables, wanted), list(prefixes.values()), tables)


@cache
def _statement(tables: tuple[Table[Any, Any], ...], wanted: Callable[[Mapping[str, str]], str]) -> str:
    return " UNION ALL ".join(
        table.required_loading.statement(table.records.name, wanted(table.required_loading.prefix))
        for table in tables
    )
