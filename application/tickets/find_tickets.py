"""Find users and tickets, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from application.transaction.ports import Place, Store, TicketQuery
from domain.tickets.state import TicketState
from domain.users.recipient import Recipient

Item = TypeVar("Item")


class Pagination(BaseModel):
    """How to go on."""

    continuationToken: Annotated[str | None, Field(description="Gets the next page; null on the last one.")]
    limit: int


class Page(BaseModel, Generic[Item]):
    """A page, in the sibling's shape."""

    model_config = ConfigDict(populate_by_name=True)

    items: list[Item]
    pagination: Annotated[Pagination, Field(alias="_pagination")]


@dataclass(frozen=True)
class Found(Generic[Item]):
    """What was found, and whether there is more after its last."""

    items: Sequence[Item]
    more: bool


def find_users(client_ext_id: str, after: str, limit: int, *, store: Store) -> Found[Recipient]:
    """Return users by their ids, after one of them. Raises StoreUnavailable."""
    found = store.list_recipients(client_ext_id, after, limit + 1)
    return Found(found[:limit], len(found) > limit)


def find_tickets(query: TicketQuery, after: Place | None, limit: int, *, store: Store) -> Found[TicketState]:
    """Return tickets that fit, after one of them. Raises StoreUnavailable.

    The pages go on by key: what stood throughout is neither missed nor shown twice while others write.
    """
    found = store.find_tickets(query, after, limit + 1)
    return Found(found[:limit], len(found) > limit)


def place_of(row: TicketState, query: TicketQuery) -> Place:
    """Return the place of a ticket in the query's order."""
    value = getattr(row, query.order)
    return Place(
        value if isinstance(value, str) else value.isoformat(timespec="microseconds"), row.user_ext_id
    )
