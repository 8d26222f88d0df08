"""The table of users, and the queries on it."""

from collections.abc import Sequence

import msgspec

from application.transaction.records import Change
from application.users.records import USER_STATES, USERS
from domain.shared.subject import Subject
from domain.users.recipient import Recipient
from domain.users.user import UserChanged, UserErased, UserRegistered, UserState, evolve
from interface.outbound.sql.codec import decoded, encode
from interface.outbound.sql.row_seals import SqlRowSeals
from interface.outbound.sql.table import SEAL, Committed, Loading, Row, Storing, Table, sealed, upsert

to_recipient = msgspec.json.Decoder(Recipient).decode
_KEY = ("client_ext_id", "user_ext_id")
_COLUMNS = {"client_ext_id": "text", "user_ext_id": "text", "version": "bigint", "row": "bytea"}
# The version detects concurrent changes: processes of release 1.0 store no event that could conflict.
_EXPECTED = """
WHERE stored.version = (
    SELECT expected FROM {new} AS changed
    WHERE changed.client_ext_id = stored.client_ext_id AND changed.user_ext_id = stored.user_ext_id
)
"""
_TOPICS = ", ".join(f"'{event.TOPIC}'" for event in (UserRegistered, UserChanged, UserErased))
# One pass over the ledger: SQLite would search all entries of the client for each user.
_UNEXPLAINED = f"""
SELECT client_ext_id, user_ext_id, version, row FROM recipients JOIN (
    SELECT client_ext_id, user_ext_id FROM recipients
    EXCEPT SELECT client_ext_id, user_ext_id FROM ledger WHERE topic IN ({_TOPICS})
) AS unexplained USING (client_ext_id, user_ext_id)
"""
_NEWEST_EVENT = """
{wanted} JOIN ledger USING (client_ext_id, stream)
JOIN ticket_events ON originator_id = stream AND originator_version = version
WHERE version = (
    SELECT max(newest.version) FROM ledger AS newest
    WHERE newest.client_ext_id = wanted.client_ext_id AND newest.stream = wanted.stream
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


def _read_state(client: str, user: str, topic: str, event: bytes) -> tuple[Subject, UserState]:
    newest = decoded(topic, event)
    of_later_release = UserState(
        client_ext_id=client, user_ext_id=user, version=0, last_modified=newest.timestamp, recipient=None
    )
    state = evolve(of_later_release, newest)
    assert state  # noqa: S101 - an event of a state
    return state.key, state


def _differs(row: Row, state: UserState | None) -> bool:
    """Return whether the row differs from the commitment; a row without a salt is not recorded yet, which is no fault."""
    committed = state.recipient if state else None
    if not row:
        return committed is not None
    *key, version, content = row
    try:
        recipient = to_recipient(content)
        stored = recipient.commitment
    except (ValueError, RecursionError):
        return True
    if (*key, version) != (*recipient.subject, recipient.version):
        return True
    return stored is not None and stored != committed


USER_TABLE = Table(
    records=USERS,
    store=Storing(
        columns={**_COLUMNS, "expected": "bigint", SEAL: "bytea"},
        statement=upsert("recipients", _KEY, [*_COLUMNS, SEAL], _EXPECTED),
        write=_write,
    ),
    remove=Storing(
        columns={"client_ext_id": "text", "user_ext_id": "text", "version": "bigint"},
        statement="DELETE FROM recipients WHERE (client_ext_id, user_ext_id, version) IN"
        " (SELECT client_ext_id, user_ext_id, version FROM {new})",
        write=_write,
    ),
    loading=Loading(prefix=dict.fromkeys(_KEY, "text"), columns=sealed(_KEY), read=_read, is_sealed=True),
    guarded=True,
    committed=Committed(columns=list(_COLUMNS), differs=_differs, unexplained=_UNEXPLAINED),
)
USER_STATE_TABLE = Table(
    records=USER_STATES,
    loading=Loading(
        prefix={"client_ext_id": "text", "stream": "uuid"},
        columns={
            "client_ext_id": "text",
            "user_ext_id": "text",
            "ticket_events.topic": "text",
            "state": "bytea",
        },
        source=_NEWEST_EVENT,
        read=_read_state,
    ),
)


class SqlUsers(SqlRowSeals):
    """Implements the port Users."""

    _has_salt = """instr(row, CAST('"salt":"' AS BLOB)) > 0"""

    def list_recipients(self, client_ext_id: str, after: str, limit: int) -> Sequence[Recipient]:
        """Return the next users of a client, by their ids."""
        statement = (
            f"SELECT {', '.join(sealed(_KEY))} FROM recipients"
            " WHERE client_ext_id = ? AND user_ext_id > ? ORDER BY user_ext_id LIMIT ?"
        )
        rows = self._fetch(statement, (client_ext_id, after, limit))
        return [to_recipient(row) for row in self._contents(USERS, rows)]

    def unrecorded_recipients(self, after: Subject, limit: int) -> Sequence[Recipient]:
        """Return the next users of all clients, by their ids, whose row has no salt."""
        statement = (
            f"SELECT row FROM recipients WHERE (client_ext_id, user_ext_id) > (?, ?) AND NOT {self._has_salt}"
            " ORDER BY client_ext_id, user_ext_id LIMIT ?"
        )
        return [to_recipient(row) for (row,) in self._fetch(statement, (*after, limit))]
