"""Find the tickets of a client, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from application.shared.paging import Results
from domain.tickets.state import TicketState
from domain.tickets.states import State


class PageKey(NamedTuple):
    """The position of a ticket in the query's order: the text of the sort column, and the user's id."""

    value: str
    user_ext_id: str


class ExpiryPageKey(NamedTuple):
    """The position of a ticket in the order of expiry."""

    valid_to: datetime
    client_ext_id: str
    user_ext_id: str


@dataclass(frozen=True)
class TicketQuery:
    """Search criteria; None matches every ticket except deleted ones.

    now: the time at which `state` is evaluated, since a temporary lock expires.
    """

    client_ext_id: str
    now: datetime
    state: State | None = None
    policy_ext_id: str | None = None
    expires_before: datetime | None = None
    last_modified_after: datetime | None = None

    @property
    def order(self) -> str:
        """The sort column: that of the requested range, or the user's id."""
        if self.expires_before:
            return "valid_to"
        return "last_modified" if self.last_modified_after else "user_ext_id"


class Tickets(Protocol):
    """The tickets of the store. Every method raises StoreUnavailable."""

    def find_tickets(self, query: TicketQuery, after: PageKey | None, limit: int) -> Sequence[TicketState]:
        """Return the next matching tickets in the query's order."""

    def expiring(
        self, ended: datetime, soon: datetime, after: ExpiryPageKey | None, limit: int
    ) -> Sequence[TicketState]:
        """Return the next tickets with a due expiry event: they expire before `soon`, or expired before `ended`.

        Sorted by expiry, client and user.
        """

    def longest_warning_days(self) -> int:
        """Return the longest closeToExpirationThreshold of all defined policies, in days; -1: no policy defined."""


def find_tickets(
    query: TicketQuery, after: PageKey | None, limit: int, *, store: Tickets
) -> Results[TicketState]:
    """Return the matching tickets after a position. Raises StoreUnavailable.

    Keyset pagination: concurrent writes neither hide nor repeat an unchanged ticket.
    """
    found = store.find_tickets(query, after, limit + 1)
    return Results(found[:limit], len(found) > limit)


def page_key_of(row: TicketState, query: TicketQuery) -> PageKey:
    """Return the position of a ticket in the query's order."""
    value = getattr(row, query.order)
    return PageKey(
        value if isinstance(value, str) else value.isoformat(timespec="microseconds"), row.user_ext_id
    )
