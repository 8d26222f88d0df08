"""The ticket of a user."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter
from starlette.responses import Response

from application.record.history import past_ticket
from application.shared.fields import ExtId
from application.shared.paging import Page
from application.tickets.create_ticket import CreateTicket
from application.tickets.find_tickets import TicketQuery, find_tickets, page_key_of
from application.tickets.modify_ticket import DeleteTicket, ModifyTicket
from application.tickets.records import ticket, ticket_of
from application.tickets.regenerate_ticket import RegenerateTicket
from application.tickets.response import TicketResponse, to_response
from application.tickets.verify_ticket import VerifyResponse, VerifyTicket
from application.transaction.outcomes import Outcome
from domain.tickets.states import State
from domain.tickets.ticket import ClearTicket
from interface.http.core.call import Call
from interface.http.core.call_route import CallRoute, depends, depends_for_client
from interface.http.core.headers import IdempotencyKey, IfMatch, IfNoneMatch, Prefer
from interface.http.core.openapi import (
    body,
    creates,
    deletes,
    links_to,
    lists,
    patches,
    plain_writes,
    reads,
    writes,
)
from interface.http.core.paging import ContinuationToken, DateFilter, Limit, page, page_response, query_value
from interface.http.core.path import BASE_PATH
from interface.http.core.permissions import (
    CREDENTIAL_CREATE,
    CREDENTIAL_DELETE,
    CREDENTIAL_MODIFY,
    CREDENTIAL_VERIFY,
    CREDENTIAL_VIEW,
    HISTORY_VIEW,
)
from interface.http.core.responses import found, json_response, no_content
from interface.http.core.schemas import Date
from interface.http.delivery.routes import delivery_headers, with_delivery_headers
from interface.http.tickets.schemas import (
    At,
    AtVersion,
    CreateBody,
    PatchBody,
    PolicyFilter,
    ResetBody,
    StateName,
    ValidityBody,
    VerifyBody,
    past,
)

router = APIRouter(prefix=BASE_PATH, tags=["Ticket"], route_class=CallRoute)
PATH = "/{clientExtId:segment}/users/{userExtId:segment}/ticket"
LIST = "/{clientExtId:segment}/tickets"
TicketPage = Page[TicketResponse]
_LINKS = links_to("getTicket", "regenerateTicket", "verifyTicket", "updateTicket", "deleteTicket")


@router.post(
    f"{PATH}/reset",
    summary="Regenerate a ticket",
    operation_id="regenerateTicket",
    responses=with_delivery_headers(writes(TicketResponse, "Ticket regenerated successfully", 429)),
    openapi_extra=body(ResetBody, required=False),
)
async def regenerate(
    call: Annotated[Call, depends(CREDENTIAL_MODIFY, CREDENTIAL_VIEW)],
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response:
    """Regenerates the ticket value for the specified user, resetting the ticket hash.

    The reset count is incremented by one. The response contains the updated ticket credential. The new ticket
    is sent to the user, never returned to the caller. The previous ticket becomes invalid immediately; a lock is
    removed. A disabled or archived ticket is not reset: 422.

    Required permissions: AccessControl.CredentialModify, AccessControl.CredentialView
    """
    call.count()
    comment = call.optional_body(ResetBody).modificationComment
    answer = await call.execute(RegenerateTicket(**call.command_context(), reason=comment))
    return json_response(answer, 200, **await delivery_headers(call, answer))


@router.post(
    PATH,
    summary="Create a ticket",
    operation_id="createTicket",
    status_code=201,
    responses=with_delivery_headers(creates(TicketResponse, "Ticket created successfully", links=_LINKS)),
    openapi_extra=body(CreateBody, required=False),
)
async def create(
    call: Annotated[Call, depends(CREDENTIAL_CREATE)],
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response:
    """Creates the ticket credential of a user. A user has one at most: a second is 422.

    The ticket is generated and sent to the user, never returned to the caller.

    Required permission: AccessControl.CredentialCreate
    """
    wanted = call.optional_body(CreateBody)
    validity = wanted.validity or ValidityBody()
    command = CreateTicket(
        **call.command_context(),
        reason=wanted.modificationComment,
        ext_id=wanted.extId,
        policy_ext_id=wanted.policyExtId,
        state=State(wanted.stateName),
        valid_from=validity.from_,
        valid_to=validity.to,
    )
    answer = await call.execute(command)
    return json_response(answer, 201, Location=call.path, **await delivery_headers(call, answer))


@router.get(
    PATH,
    summary="Get a ticket",
    operation_id="getTicket",
    responses=reads(TicketResponse, "The ticket credential"),
)
async def get(
    call: Annotated[Call, depends(CREDENTIAL_VIEW)],
    at: At = None,
    atVersion: AtVersion = None,  # noqa: N803
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Returns the ticket credential of a user: the current one or, with `at` or `atVersion`, a past state.

    Required permission: AccessControl.CredentialView; for a past state also AccessControl.HistoryView
    """
    moment, version = past(call)
    if moment or version is not None:
        call.caller.demand(call.subject.client_ext_id, (HISTORY_VIEW,))
        await call.note_read()
        find_past = partial(past_ticket, at=moment, version=version, clock=call.service.clock)
        row, now = await call.find(find_past, call.subject)
        return found(call, to_response(row, now), row.version, changed_by_time=row.at(now) is not row)
    row, now = ticket(await call.load(ticket_of(call.subject)), call.subject), call.service.clock()
    return found(call, to_response(row, now), row.version, changed_by_time=row.at(now) is not row)


@router.patch(
    PATH,
    summary="Update a ticket",
    operation_id="updateTicket",
    responses=patches(TicketResponse, "Ticket updated successfully"),
    openapi_extra=body(PatchBody, required=True),
)
async def modify(
    call: Annotated[Call, depends(CREDENTIAL_MODIFY, CREDENTIAL_VIEW)],
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Changes the state, policy, validity or comment of a ticket credential; omitted fields stay.

    `version`, if given, must be the current one, otherwise 409. An archived ticket cannot be changed: 422.

    Required permissions: AccessControl.CredentialModify, AccessControl.CredentialView
    """
    wanted = call.body(PatchBody)
    validity = wanted.validity or ValidityBody()
    command = ModifyTicket(
        **call.command_context(),
        reason=wanted.modificationComment,
        version=wanted.version,
        state=State(wanted.stateName) if wanted.stateName else None,
        policy_ext_id=wanted.policyExtId,
        valid_from=validity.from_,
        valid_to=validity.to,
    )
    return json_response(await call.execute(command))


@router.delete(
    PATH, summary="Delete a ticket", operation_id="deleteTicket", status_code=204, responses=deletes()
)
async def delete(call: Annotated[Call, depends(CREDENTIAL_DELETE)], if_match: IfMatch = None) -> Response:
    """Deletes the ticket credential; its history is kept. A new ticket can then be created for the user.

    Required permission: AccessControl.CredentialDelete
    """
    await call.execute(DeleteTicket(**call.command_context()))
    return no_content()


@router.post(
    f"{PATH}/verify",
    summary="Verify a ticket",
    operation_id="verifyTicket",
    responses=plain_writes(VerifyResponse, "Whether the ticket is accepted"),
    openapi_extra=body(VerifyBody, required=True),
)
async def verify(
    call: Annotated[Call, depends(CREDENTIAL_VERIFY)],
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Verifies a ticket of the user, and counts the result.

    A wrong ticket counts as a failure, and locks the credential as its policy defines. A refusal for any other reason
    does not count. An accepted ticket cannot be used again unless its policy is `reusable`.

    Required permission: AccessControl.CredentialVerify
    """
    call.count()
    ticket = ClearTicket(call.body(VerifyBody).ticket.get_secret_value())
    answer = await call.execute(VerifyTicket(**call.command_context(), ticket=ticket))
    if answer.outcome == Outcome.LOCKED:
        await call.note("locked")
    return json_response(answer)


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

    The filter uses the current state. Pages are keyed, so no unchanged ticket is missed or returned twice.

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
    place = page_key_of(found.items[-1], query) if found.more else None
    items = [to_response(row, now) for row in found.items]
    return page_response(TicketPage(items=items, pagination=wanted.next(place)))
