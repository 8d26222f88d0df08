"""The check of table `details`: each row against the commitment of its event."""

from collections.abc import Iterator
from itertools import chain
from typing import Any
from uuid import UUID

from domain.users.user import UserErased
from interface.outbound.sql.codec import decoded
from interface.outbound.sql.table import Fetch, pages

_PAGE = f"""
SELECT details.client_ext_id, details.stream, details.version, details.user_ext_id, salt, reason,
       ledger.user_ext_id, ledger.topic, state,
       EXISTS (
           SELECT 1 FROM ledger AS erasure WHERE erasure.client_ext_id = ledger.client_ext_id
               AND erasure.user_ext_id = ledger.user_ext_id AND erasure.position > ledger.position
               AND erasure.topic = '{UserErased.TOPIC}'
       )
FROM details LEFT JOIN ledger USING (client_ext_id, stream, version)
LEFT JOIN ticket_events ON originator_id = details.stream AND originator_version = details.version
WHERE (details.client_ext_id, details.stream, details.version) > (?, ?, ?)
ORDER BY details.client_ext_id, details.stream, details.version LIMIT ?
"""


def details_faults(fetch: Fetch) -> Iterator[str]:
    """Yield a message for each row that has no event, or that differs from the commitment of its event."""
    for client, stream, version, *columns in chain.from_iterable(pages(fetch, _PAGE, ("", UUID(int=0), 0))):
        try:
            fault = _fault(*columns)
        except (ValueError, TypeError, RecursionError) as error:
            fault = f"it cannot be compared: {error}"
        if fault:
            yield f"client {client!r}, reason of stream {stream}, version {version}: {fault}"


def _fault(
    user: str, salt: Any, reason: Any, user_of_event: str | None, topic: str, state: Any, is_erased: bool
) -> str:
    if user_of_event is None or state is None:
        return "it belongs to no event"
    if user != user_of_event:
        return f"column user_ext_id is {user!r}, not {user_of_event!r}"
    if not decoded(topic, bytes(state)).commits_to(bytes(salt), bytes(reason).decode()):
        return "text or salt differ from the commitment in the event"
    if is_erased:
        return "it was not deleted, but its user was erased after the event"
    return ""
