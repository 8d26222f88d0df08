"""The table of the free text of events, as bytes, since PostgreSQL accepts no NUL in a text."""

from typing import Any

from application.transaction.details import DETAILS, TEXTS_OF_USER, Details, DetailsKey
from application.transaction.records import Change
from domain.users.user import UserErased
from interface.outbound.sql.details_check import details_faults
from interface.outbound.sql.table import Row, Storing, Table

_USER = {"client_ext_id": "text", "user_ext_id": "text"}
_COLUMNS = {**_USER, "stream": "uuid", "version": "bigint", "salt": "bytea", "reason": "bytea"}
# Of events before the erasure: a later command of the same batch may have registered the user again. CROSS JOIN and the
# expression choose the index by user: otherwise SQLite reads every entry of the client for each text.
_DELETE_OF_USER = f"""
DELETE FROM details WHERE (client_ext_id, user_ext_id) IN (SELECT client_ext_id, user_ext_id FROM {{new}}) AND (
    SELECT position FROM ledger AS entry WHERE entry.client_ext_id = details.client_ext_id
        AND entry.stream = details.stream AND entry.version = details.version
) < (
    SELECT max(position) FROM {{new}} AS erased CROSS JOIN ledger AS erasure
    WHERE erasure.client_ext_id = erased.client_ext_id AND erasure.user_ext_id = erased.user_ext_id
        AND topic || '' = '{UserErased.TOPIC}' AND position > 0
        AND erased.client_ext_id = details.client_ext_id AND erased.user_ext_id = details.user_ext_id
)
"""


def _write(key: DetailsKey, change: Change[Details]) -> Row:
    assert change.row  # noqa: S101 - this writes rows that are put
    return *key.subject, key.stream, key.version, change.row.salt, change.row.reason.encode()


def to_details(salt: Any, reason: Any) -> Details:
    """Return the columns as Details. Values that the service cannot have written do not fail: the check finds them."""
    return Details(_octets(salt), _octets(reason).decode(errors="replace"))


def _octets(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()


DETAILS_TABLE = Table(
    records=DETAILS,
    store=Storing(
        columns=_COLUMNS,
        statement=f"INSERT INTO details ({', '.join(_COLUMNS)}) SELECT {', '.join(_COLUMNS)} FROM {{new}}",
        write=_write,
    ),
    check=details_faults,
)
TEXTS_OF_USER_TABLE: Table[Any, Any] = Table(
    records=TEXTS_OF_USER,
    remove=Storing(
        columns=_USER, statement=_DELETE_OF_USER, write=lambda subject, _: tuple(subject), is_counted=False
    ),
    guarded=True,
)
