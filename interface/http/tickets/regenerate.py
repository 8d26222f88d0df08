"""Reset the ticket of a user."""

from typing import Annotated

from fastapi import APIRouter
from starlette.responses import Response

from application.shared.fields import Comment
from application.tickets.regenerate_ticket import RegenerateTicket
from application.tickets.response import TicketResponse
from interface.http.core.call import Call
from interface.http.core.call_route import CallRoute, depends
from interface.http.core.headers import IdempotencyKey, IfMatch, Prefer
from interface.http.core.openapi import body, writes
from interface.http.core.path import BASE_PATH
from interface.http.core.permissions import CREDENTIAL_MODIFY, CREDENTIAL_VIEW
from interface.http.core.responses import json_response
from interface.http.core.schemas import StrictBody
from interface.http.delivery.routes import delivery_headers, with_delivery_headers
from interface.http.tickets.routes import PATH

router = APIRouter(prefix=BASE_PATH, tags=["Ticket"], route_class=CallRoute)


class ResetBody(StrictBody):
    """The body of a reset."""

    modificationComment: Comment | None = None


@router.post(
    f"{PATH}/reset",
    summary="Regenerate a ticket",
    operation_id="regenerateTicket",
    responses=with_delivery_headers(writes(TicketResponse, "Ticket regenerated successfully")),
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

    A user gets at most 20 tickets per UTC day, by creations and resets, or as many as `maxDailyDeliveryCount` of the policy
    permits; more are 429. The permission AccessControl.DeliveryOverride lifts this limit.

    Required permissions: AccessControl.CredentialModify, AccessControl.CredentialView
    """
    comment = call.optional_body(ResetBody).modificationComment
    answer = await call.execute(RegenerateTicket(**call.sending_context(), reason=comment))
    return json_response(answer, 200, **await delivery_headers(call, answer))
