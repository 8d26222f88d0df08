"""The table of users, and the queries on it."""

from collections.abc import Sequence

import msgspec

from application.transaction.records import Change
from application.users.records import USERS
from domain.shared.subject import Subject
from domain.users.recipient import Recipient
from interface.outbound.sql.codec import encode
from interface.outbound.sql.sql_tables import SqlTables
from interface.outbound.sql.table import Loading, Row, Storing, Table, upsert

to_recipient = msgspec.json.Decoder(Recipient).decode
_KEY = ("client_ext_id", "user_ext_id")
_COLUMNS = {"client_ext_id": "text", "user_ext_id": "text", "version": "bigint", "row": "bytea"}
# Users have no events, so the version detects concurrent changes.
_EXPECTED = """
WHERE stored.version = (
    SELECT expected FROM {new} AS changed
    WHERE changed.client_ext_id = stored.client_ext_id AND changed.user_ext_id = stored.user_ext_id
)
"""


def _write(subject: Subject, change: Change[Recipient]) -> Row:
    former = change.former.version if change.former else 0
    if change.row is None:
        return (*subject, former)
    return (*subject, change.row.version, encode(change.row), former)


def _read(row: bytes) -> tuple[Subject, Recipient]:
    recipient = to_recipient(row)
    return recipient.subject, recipient


USER_TABLE = Table(
    records=USERS,
    store=Storing(
        columns={**_COLUMNS, "expected": "bigint"},
        statement=upsert("recipients", _KEY, list(_COLUMNS), _EXPECTED),
        write=_write,
    ),
    remove=Storing(
        columns={"client_ext_id": "text", "user_ext_id": "text", "version": "bigint"},
        statement="DELETE FROM recipients WHERE (client_ext_id, user_ext_id, version) IN"
        " (SELECT client_ext_id, user_ext_id, version FROM {new})",
        write=_write,
    ),
    loading=Loading(prefix=dict.fromkeys(_KEY, "text"), columns={"row": "bytea"}, read=_read),
    guarded=True,
)


class SqlUsers(SqlTables):
    """Implements the port Users."""

    def is_empty(self) -> bool:
        """Return whether nothing was ever stored; no event determines the users."""
        return super().is_empty() and not self._has_rows(["recipients"])

    def list_recipients(self, client_ext_id: str, after: str, limit: int) -> Sequence[Recipient]:
        """Return the next users of a client, by their ids."""
        statement = "SELECT row FROM recipients WHERE client_ext_id = ? AND user_ext_id > ? ORDER BY user_ext_id LIMIT ?"
        return [to_recipient(row) for (row,) in self._fetch(statement, (client_ext_id, after, limit))]
