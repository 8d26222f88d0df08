"""The ticket of a user."""

from typing import Annotated

from fastapi import APIRouter
from starlette.responses import Response

from application.create_ticket import CreateTicket
from application.projection import to_response
from application.read_ticket import read_ticket
from application.regenerate_ticket import RegenerateTicket
from application.ticket_response import TicketResponse
from domain.ticket_credential import State
from interface.http.call import Call, depends, json_response
from interface.http.headers import IdempotencyKey, IfMatch, IfNoneMatch
from interface.http.openapi import body, creates, reads, writes
from interface.http.path import BASE_PATH
from interface.http.permissions import CREDENTIAL_CREATE, CREDENTIAL_MODIFY, CREDENTIAL_VIEW
from interface.http.schemas import CreateBody, ResetBody, ValidityBody

router = APIRouter(prefix=BASE_PATH, tags=["Ticket"])
PATH = "/{clientExtId:segment}/users/{userExtId:segment}/ticket"


@router.post(
    f"{PATH}/reset",
    summary="Regenerate a ticket",
    responses=writes(TicketResponse, "Ticket regenerated successfully"),
    openapi_extra=body(ResetBody, required=False),
)
async def regenerate(
    call: Annotated[Call, depends(CREDENTIAL_MODIFY, CREDENTIAL_VIEW)],
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Regenerates the ticket value for the specified user, resetting the ticket hash.

    The reset count is incremented by one. The response contains the updated ticket credential. The new ticket
    goes to the user, never to the caller. The previous ticket stops verifying at once; a lock is lifted.
    A disabled or archived ticket is not revived: 422.

    Required permissions: AccessControl.CredentialModify, AccessControl.CredentialView
    """
    comment = call.optional_body(ResetBody).modificationComment
    return json_response(await call.execute(RegenerateTicket(**call.terms(), reason=comment)))


@router.post(
    PATH,
    summary="Create a ticket",
    status_code=201,
    responses=creates(TicketResponse, "Ticket created successfully"),
    openapi_extra=body(CreateBody, required=False),
)
async def create(
    call: Annotated[Call, depends(CREDENTIAL_CREATE)],
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Creates the ticket credential of a user. One per user: a second is 422.

    The ticket is generated and goes to the user, never to the caller.

    Required permission: AccessControl.CredentialCreate
    """
    wanted = call.optional_body(CreateBody)
    validity = wanted.validity or ValidityBody()
    command = CreateTicket(
        **call.terms(),
        reason=wanted.modificationComment,
        ext_id=wanted.extId,
        policy_ext_id=wanted.policyExtId,
        state=State(wanted.stateName),
        valid_from=validity.from_,
        valid_to=validity.to,
    )
    return json_response(await call.execute(command), 201, Location=call.request.url.path)


@router.get(PATH, summary="Get a ticket", responses=reads(TicketResponse, "The ticket credential"))
async def get(call: Annotated[Call, depends(CREDENTIAL_VIEW)], if_none_match: IfNoneMatch = None) -> Response:
    """Returns the ticket credential of a user.

    Required permission: AccessControl.CredentialView
    """
    row = await call.read(read_ticket)
    return call.found(to_response(row), row.version)
