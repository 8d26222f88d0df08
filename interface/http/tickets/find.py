"""Find the tickets of a client."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import TypeAdapter, WithJsonSchema
from starlette.responses import Response

from application.shared.fields import Date, ExtId
from application.shared.paging import Page
from application.tickets.find_tickets import TicketQuery, find_tickets, page_key_of
from application.tickets.response import TicketResponse, to_response
from domain.tickets.states import State
from interface.http.core.call import Call
from interface.http.core.call_route import CallRoute, depends_for_client
from interface.http.core.openapi import lists
from interface.http.core.paging import (
    ContinuationToken,
    DateFilter,
    Limit,
    fitting,
    page,
    page_response,
    query_value,
)
from interface.http.core.path import BASE_PATH
from interface.http.core.permissions import CREDENTIAL_VIEW

router = APIRouter(prefix=BASE_PATH, tags=["Ticket"], route_class=CallRoute)
LIST = "/{clientExtId:segment}/tickets"
TicketPage = Page[TicketResponse]
StateName = Annotated[
    str | None, WithJsonSchema({"type": "string", "enum": list(State)}), Query(description="The state now.")
]
PolicyFilter = Annotated[
    str | None,
    WithJsonSchema(TypeAdapter(ExtId).json_schema()),
    Query(description="The policy of the ticket."),
]


@router.get(
    LIST, summary="Find tickets", operation_id="findTickets", responses=lists(TicketPage, "A page of tickets")
)
async def find(
    call: Annotated[Call, depends_for_client(CREDENTIAL_VIEW)],
    stateName: StateName = None,  # noqa: N803
    policyExtId: PolicyFilter = None,  # noqa: N803
    expiresBefore: DateFilter = None,  # noqa: N803
    lastModifiedAfter: DateFilter = None,  # noqa: N803
    limit: Limit = None,
    continuationToken: ContinuationToken = None,  # noqa: N803
) -> Response:
    """Returns the ticket credentials of a client that match every filter, page by page, without deleted ones.

    The filter uses the current state. Pages are keyed, so no unchanged ticket is missed or returned twice. The read is
    recorded in the client's access log.

    Required permission: AccessControl.CredentialView
    """
    wanted, now = page(call), call.service.clock()
    query = TicketQuery(
        client_ext_id=call.subject.client_ext_id,
        now=now,
        state=query_value(call, "stateName", State),
        policy_ext_id=query_value(call, "policyExtId", ExtId),
        expires_before=query_value(call, "expiresBefore", Date),
        last_modified_after=query_value(call, "lastModifiedAfter", Date),
    )
    found = await call.find(partial(find_tickets, after=wanted.place, limit=wanted.limit), query)
    items = fitting([to_response(row, now) for row in found.items])
    shown = found.items[: len(items)]
    call.count_read(row.user_ext_id for row in shown)
    more = found.more or len(shown) < len(found.items)
    place = page_key_of(shown[-1], query) if more else None
    return page_response(TicketPage(items=items, pagination=wanted.next(place)))
