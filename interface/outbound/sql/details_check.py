"""The check of table `details`: each row against the commitment of its event."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from domain.users.user import UserErased
from interface.outbound.sql.codec import decoded
from interface.outbound.sql.table import Fetch, Row, pages

_PAGE = """
SELECT details.client_ext_id, details.stream, details.version, ledger.position, details.user_ext_id, salt, reason,
       ledger.user_ext_id, ledger.topic, state
FROM details LEFT JOIN ledger USING (client_ext_id, stream, version)
LEFT JOIN ticket_events ON originator_id = details.stream AND originator_version = details.version
WHERE (details.client_ext_id, details.stream, details.version) > (?, ?, ?)
ORDER BY details.client_ext_id, details.stream, details.version LIMIT ?
"""
# The expression and the range choose the index by user: otherwise SQLite reads every entry of the client.
_ERASED = """
SELECT max(position) FROM ledger WHERE client_ext_id = ? AND user_ext_id = ? AND topic || '' = ? AND position > 0
"""
_STORED = "SELECT 1 FROM details WHERE client_ext_id = ? AND stream = ? AND version = ?"


def details_faults(fetch: Fetch) -> Iterator[str]:
    """Yield a message for each row that has no event, or that differs from the commitment of its event."""
    for page in pages(fetch, _PAGE, ("", UUID(int=0), 0)):
        erased: dict[Row, int] = {}
        for client, stream, version, position, *columns in page:
            user = (client, columns[0])
            try:
                if user not in erased:
                    erased[user] = fetch(_ERASED, (*user, UserErased.TOPIC))[0][0] or 0
                fault = _fault(*columns)
                # A running service may have erased the user since the page was read.
                if not fault and erased[user] > position and fetch(_STORED, (client, stream, version)):
                    fault = "it was not deleted, but its user was erased after the event"
            except (ValueError, TypeError, RecursionError) as error:
                fault = f"it cannot be compared: {error}"
            if fault:
                yield f"client {client!r}, reason of stream {stream}, version {version}: {fault}"


def _fault(user: str, salt: Any, reason: Any, user_of_event: str | None, topic: str, state: Any) -> str:
    if user_of_event is None or state is None:
        return "it belongs to no event"
    if user != user_of_event:
        return f"column user_ext_id is {user!r}, not {user_of_event!r}"
    if not decoded(topic, bytes(state)).commits_to(bytes(salt), bytes(reason).decode()):
        return "text or salt differ from the commitment in the event"
    return ""
