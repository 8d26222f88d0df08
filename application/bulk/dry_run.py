"""Report the result that a bulk job would have now, without starting it; and find the users that match a filter."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated

from msgspec.structs import replace
from pydantic import BaseModel, Field

from application.bulk.job_response import BulkItemResponse, to_item
from application.bulk.records import Item, ProcessedItem
from application.shared.ports import Clock
from application.tickets.find_tickets import TicketQuery, Tickets, page_key_of
from application.tickets.regenerate_ticket import RegenerateTicket, check_regenerate
from application.transaction.store import Store
from application.transaction.unit_of_work import UnitOfWork
from domain.bulk.bulk_job import MAX_USERS
from domain.shared.errors import Refusal
from domain.shared.subject import Subject

# Users whose rows are read together.
CHUNK = 200
MAX_LISTED = 1000


class DryRun(BaseModel):
    """The result that a bulk job would have now."""

    count: Annotated[int, Field(description="Number of users; a job with another number is not the same.")]
    refused: Annotated[int, Field(description="Items that would be refused.")]
    refusals: Annotated[
        dict[str, int], Field(description="Number of items that would be refused, by reason.")
    ]
    items: Annotated[
        list[BulkItemResponse], Field(description=f"The first {MAX_LISTED} items that would be refused.")
    ]


def users_matching(query: TicketQuery, *, store: Tickets) -> tuple[str, ...]:
    """Return the users whose ticket matches, in the order of the query; one more than a job may have if there are more."""
    users: list[str] = []
    place = None
    while len(users) <= MAX_USERS and (rows := store.find_tickets(query, place, CHUNK)):
        users += [row.user_ext_id for row in rows]
        place = page_key_of(rows[-1], query)
    return tuple(users[: MAX_USERS + 1])


def dry_run(
    users: Sequence[str],
    command: RegenerateTicket,
    codes: Mapping[str, str],
    *,
    store: Store,
    clock: Clock,
    max_daily_deliveries: int,
) -> DryRun:
    """Return which items of such a job would be refused now.

    command: of any of them. codes: the error codes by the names of refusals. Raises StoreUnavailable, RowRefused.
    """
    report = DryRun(count=len(users), refused=0, refusals={}, items=[])
    check = partial(check_regenerate, clock=clock, max_daily_deliveries=max_daily_deliveries)
    client_ext_id = command.subject.client_ext_id
    for begin in range(0, len(users), CHUNK):
        chunk = [
            replace(command, subject=Subject(client_ext_id, user)) for user in users[begin : begin + CHUNK]
        ]
        unit = UnitOfWork(store.load(list({load for item in chunk for load in item.loads()})))
        for number, item in enumerate(chunk, begin + 1):
            try:
                check(item, unit)
            except Refusal as refusal:
                _add(report, number, item.subject.user_ext_id, refusal.CODE, codes)
    return report


def _add(report: DryRun, number: int, user: str, reason: str, codes: Mapping[str, str]) -> None:
    report.refused += 1
    report.refusals[reason] = report.refusals.get(reason, 0) + 1
    if len(report.items) < MAX_LISTED:
        # No time is shown: the refusal has not happened.
        item = Item(number, user, ProcessedItem(user, reason, 0, None))
        report.items.append(to_item(item, codes))
