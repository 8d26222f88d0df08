"""The table of the free text of events, as bytes, since PostgreSQL accepts no NUL in a text."""

from typing import Any
from uuid import UUID

from application.transaction.details import DETAILS, Details, DetailsKey
from application.transaction.records import Change
from domain.shared.subject import Subject
from interface.outbound.sql.details_check import details_faults
from interface.outbound.sql.table import Loading, Row, Storing, Table

_USER = {"client_ext_id": "text", "user_ext_id": "text"}
_KEY = {**_USER, "stream": "uuid", "version": "bigint"}
_COLUMNS = {**_KEY, "salt": "bytea", "reason": "bytea"}
_LOADED = {
    **_USER,
    "CAST(stream AS text)": "text",
    "details.version": "bigint",
    "salt": "bytea",
    "reason": "bytea",
}


def _key_columns(key: DetailsKey) -> Row:
    return *key.subject, key.stream, key.version


def _write(key: DetailsKey, change: Change[Details]) -> Row:
    assert change.row  # noqa: S101 - this writes rows that are put
    return *_key_columns(key), change.row.salt, change.row.reason.encode()


def _read(
    client: str, user: str, stream: str, version: int, salt: Any, reason: Any
) -> tuple[DetailsKey, Details]:
    return DetailsKey(Subject(client, user), UUID(stream), version), to_details(salt, reason)


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
    remove=Storing(
        columns=_KEY,
        statement="DELETE FROM details WHERE (client_ext_id, user_ext_id, stream, version) IN"
        " (SELECT client_ext_id, user_ext_id, stream, version FROM {new})",
        write=lambda key, _: _key_columns(key),
    ),
    loading=Loading(prefix=_USER, columns=_LOADED, read=_read),
    check=details_faults,
)
