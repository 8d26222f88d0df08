"""Export the credentials of a client with their hashes, as rows of an import."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from application.shared.ports import Clock
from application.shared.wire import utc_instant
from application.tickets.find_tickets import TicketQuery, Tickets, find_tickets, page_key_of
from application.tickets.response import to_response
from domain.tickets.state import TicketState

PAGE = 1_000


def export_tickets(client_ext_id: str, *, store: Tickets, clock: Clock) -> Iterator[dict[str, Any]]:
    """Yield a row for each credential that is not deleted, sorted by user (docs/migration.md). Raises StoreUnavailable."""
    query, after = TicketQuery(client_ext_id, clock()), None
    while True:
        found = find_tickets(query, after, PAGE, store=store)
        yield from (_row(state, query.now) for state in found.items)
        if not found.more:
            return
        after = page_key_of(found.items[-1], query)


def _row(state: TicketState, now: datetime) -> dict[str, Any]:
    """Return the response with exact times, and with the end of a temporary lock."""
    state = state.at(now)
    return {
        **to_response(state, now),
        "created": utc_instant(state.created),
        "lastModified": utc_instant(state.last_modified),
        "lastSuccessfulLoginDate": _exact(state.last_successful_login_date),
        "lastFailedLoginDate": _exact(state.last_failed_login_date),
        "validity": {"from": utc_instant(state.valid_from), "to": utc_instant(state.valid_to)},
        "lockedUntil": _exact(state.locked_until),
    }


def _exact(moment: datetime | None) -> str | None:
    return None if moment is None else utc_instant(moment)
