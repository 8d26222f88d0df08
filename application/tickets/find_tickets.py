"""Find the tickets of a client, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from application.shared.paging import Found
from domain.tickets.state import TicketState
from domain.tickets.states import State


class PageKey(NamedTuple):
    """After which ticket a page goes on: the text of the column by which it is ordered, and the user's id."""

    value: str
    user_ext_id: str


class ExpiryPageKey(NamedTuple):
    """After which ticket a page of expiring ones goes on."""

    valid_to: datetime
    client_ext_id: str
    user_ext_id: str


@dataclass(frozen=True)
class TicketQuery:
    """Which tickets of a client to find; what is None does not matter. Deleted ones are never found.

    now: the moment at which the state is meant, since a temporary lock ends by itself.
    """

    client_ext_id: str
    now: datetime
    state: State | None = None
    policy_ext_id: str | None = None
    expires_before: datetime | None = None
    last_modified_after: datetime | None = None

    @property
    def order(self) -> str:
        """By which column the pages go on: that of the range that is asked for, else the user's id."""
        if self.expires_before:
            return "valid_to"
        return "last_modified" if self.last_modified_after else "user_ext_id"


class Tickets(Protocol):
    """The tickets of the store. Every method raises StoreUnavailable."""

    def find_tickets(self, query: TicketQuery, after: PageKey | None, limit: int) -> Sequence[TicketState]:
        """Return the next tickets that fit, in the query's order."""

    def expiring(
        self, ended: datetime, soon: datetime, after: ExpiryPageKey | None, limit: int
    ) -> Sequence[TicketState]:
        """Return the next live tickets with a due expiry event: that end before `soon`, or that ended before `ended`.

        By their end, client and user.
        """

    def longest_warning_days(self) -> int:
        """Return the longest closeToExpirationThreshold of any policy that was defined; -1: there is none."""


def find_tickets(
    query: TicketQuery, after: PageKey | None, limit: int, *, store: Tickets
) -> Found[TicketState]:
    """Return tickets that fit, after one of them. Raises StoreUnavailable.

    The pages go on by key: what stood throughout is neither missed nor shown twice while others write.
    """
    found = store.find_tickets(query, after, limit + 1)
    return Found(found[:limit], len(found) > limit)


def page_key_of(row: TicketState, query: TicketQuery) -> PageKey:
    """Return the place of a ticket in the query's order."""
    value = getattr(row, query.order)
    return PageKey(
        value if isinstance(value, str) else value.isoformat(timespec="microseconds"), row.user_ext_id
    )
