"""Verify the ticket of a user."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, SecretStr
from starlette.responses import Response

from application.tickets.verify_ticket import VerifyResponse, VerifyTicket
from application.transaction.outcomes import Outcome
from domain.tickets.ticket import ClearTicket
from interface.http.core.call import Call
from interface.http.core.call_route import CallRoute, depends
from interface.http.core.headers import IdempotencyKey, IfMatch
from interface.http.core.openapi import body, plain_writes
from interface.http.core.path import BASE_PATH
from interface.http.core.permissions import CREDENTIAL_VERIFY
from interface.http.core.responses import json_response
from interface.http.core.schemas import StrictBody
from interface.http.tickets.routes import PATH

router = APIRouter(prefix=BASE_PATH, tags=["Ticket"], route_class=CallRoute)


class VerifyBody(StrictBody):
    """The ticket to verify."""

    ticket: Annotated[SecretStr, Field(min_length=1, max_length=1000)]


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

    Blanks and hyphens that a person typed are ignored, and full-width characters are read as ASCII.

    A wrong ticket counts as a failure, and locks the credential as its policy defines. A refusal for any other reason
    does not count. An accepted ticket cannot be used again unless its policy is `reusable`.

    Required permission: AccessControl.CredentialVerify
    """
    ticket = ClearTicket(call.body(VerifyBody).ticket.get_secret_value())
    answer = await call.execute(VerifyTicket(**call.command_context(), ticket=ticket))
    if answer.outcome == Outcome.LOCKED:
        await call.note("locked")
    return json_response(answer)
