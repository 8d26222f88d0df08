"""Create, read, update and delete the ticket of a user."""

from datetime import datetime
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BeforeValidator, Field, WithJsonSchema
from starlette.responses import Response

from application.record.history import past_ticket
from application.shared.fields import Comment, Date, ExtId, integral
from application.tickets.create_ticket import CreateTicket
from application.tickets.modify_ticket import DeleteTicket, ModifyTicket
from application.tickets.records import ticket, ticket_of
from application.tickets.response import TicketResponse, to_response
from domain.tickets.states import State
from interface.http.core.call import Call
from interface.http.core.call_route import CallRoute, depends
from interface.http.core.headers import IdempotencyKey, IfMatch, IfNoneMatch, Prefer
from interface.http.core.openapi import body, creates, deletes, links_to, patches, reads
from interface.http.core.paging import POSITIVE, integer_param, query_value
from interface.http.core.path import BASE_PATH
from interface.http.core.permissions import (
    CREDENTIAL_CREATE,
    CREDENTIAL_DELETE,
    CREDENTIAL_MODIFY,
    CREDENTIAL_VIEW,
    HISTORY_VIEW,
)
from interface.http.core.problems import Malformed
from interface.http.core.responses import found, json_response, no_content
from interface.http.core.schemas import StrictBody
from interface.http.delivery.routes import delivery_headers, with_delivery_headers
from interface.http.record.routes import RecordPart

router = APIRouter(prefix=BASE_PATH, tags=["Ticket"], route_class=CallRoute)
PATH = "/{clientExtId:segment}/users/{userExtId:segment}/ticket"
_LINKS = links_to("getTicket", "regenerateTicket", "verifyTicket", "updateTicket", "deleteTicket")
At = Annotated[
    str | None,
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Query(
        description="Show the ticket as of this date and time, with its offset (RFC 3339); 404 in the future. A time"
        " without a fraction includes every event of its second. Not together with `atVersion`."
    ),
]
AtVersion = Annotated[
    str | None,
    POSITIVE,
    Query(description="Show the ticket as of this version. Not together with `at`."),
]


class ValidityBody(StrictBody):
    """The validity period; omitted dates are set by the policy."""

    from_: Annotated[Date | None, Field(alias="from")] = None
    to: Date | None = None


class CreateBody(StrictBody):
    """The body of a creation; omitted fields are set by the service or the policy."""

    extId: ExtId | None = None
    policyExtId: ExtId | None = None
    stateName: Literal["active", "disabled", "archived"] = "active"
    modificationComment: Comment | None = None
    validity: ValidityBody | None = None


class PatchBody(StrictBody):
    """The fields to change; omitted fields and nulls are kept."""

    stateName: Literal["active", "disabled", "archived"] | None = None
    modificationComment: Comment | None = None
    version: Annotated[int, Field(ge=0, le=2**31 - 1, strict=True), BeforeValidator(integral)] | None = None
    policyExtId: ExtId | None = None
    validity: ValidityBody | None = None


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

    A user gets at most 20 tickets per UTC day, by creations and resets, or as many as `maxDailyDeliveryCount` of the policy
    permits; more are 429. The permission AccessControl.DeliveryOverride lifts this limit.

    Required permission: AccessControl.CredentialCreate
    """
    wanted = call.optional_body(CreateBody)
    validity = wanted.validity or ValidityBody()
    command = CreateTicket(
        **call.sending_context(),
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
    call: Annotated[Call, depends()],
    at: At = None,
    atVersion: AtVersion = None,  # noqa: N803
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Returns the ticket credential of a user: the current one or, with `at` or `atVersion`, a past state.

    The read is recorded in the client's access log.

    Required permission: AccessControl.CredentialView; for a past state AccessControl.HistoryView
    """
    past = call.query.keys() & {"at", "atVersion"}
    call.caller.demand(call.subject.client_ext_id, (HISTORY_VIEW if past else CREDENTIAL_VIEW,))
    moment, version = _past(call)
    if moment or version is not None:
        await call.note_read()
        kept = call.part(RecordPart).past_states
        find_past = partial(past_ticket, at=moment, version=version, clock=call.service.clock, kept=kept)
        row, now = await call.find(find_past, call.subject)
        return found(call, to_response(row, now), row.version, changed_by_time=row.at(now) is not row)
    row, now = ticket(await call.load(ticket_of(call.subject)), call.subject), call.service.clock()
    call.count_read()
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


def _past(call: Call) -> tuple[datetime | None, int | None]:
    """Return the requested time or version of a ticket. Raises Malformed."""
    moment, version = query_value(call, "at", Date), integer_param(call, "atVersion")
    if moment and version is not None:
        raise Malformed("at and atVersion exclude each other: give one of them.")
    return moment, version
