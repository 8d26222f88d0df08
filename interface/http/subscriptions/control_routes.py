"""Resume a subscription, and send events again."""

from typing import Annotated

from fastapi import APIRouter
from starlette.responses import Response

from application.subscriptions.control_subscription import ChangeSubscriptionStatus, ReplaySubscription
from application.subscriptions.read_subscriptions import SubscriptionResponse
from domain.subscriptions.subscription import Status
from interface.http.core.call import Call
from interface.http.core.call_route import CallRoute, depends_for_client
from interface.http.core.headers import IdempotencyKey, IfMatch
from interface.http.core.openapi import body, writes
from interface.http.core.paging import integer_param
from interface.http.core.path import BASE_PATH
from interface.http.core.permissions import SUBSCRIPTION_MODIFY
from interface.http.core.problems import Malformed
from interface.http.core.responses import json_response
from interface.http.core.schemas import CommentBody
from interface.http.subscriptions.routes import PATH
from interface.http.subscriptions.schemas import FromPosition, SubscriptionName

router = APIRouter(prefix=BASE_PATH, tags=["Subscriptions"], route_class=CallRoute)


@router.post(
    f"{PATH}/resume",
    summary="Resume a subscription",
    operation_id="resumeSubscription",
    responses=writes(SubscriptionResponse, "The subscription, enabled"),
    openapi_extra=body(CommentBody, required=False),
)
async def resume(
    call: Annotated[Call, depends_for_client(SUBSCRIPTION_MODIFY)],
    name: SubscriptionName,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Resumes a parked or waiting subscription immediately, after the last acknowledged event.

    Required permission: AccessControl.SubscriptionModify
    """
    wanted = call.optional_body(CommentBody)
    command = ChangeSubscriptionStatus(
        **call.command_context(),
        reason=wanted.modificationComment,
        name=call.path_id("name"),
        status=Status.ENABLED,
        announced=True,
    )
    return json_response(await call.execute(command))


@router.post(
    f"{PATH}/replay",
    summary="Send events again",
    operation_id="replaySubscription",
    responses=writes(SubscriptionResponse, "The subscription, moved"),
    openapi_extra=body(CommentBody, required=False),
)
async def replay(
    call: Annotated[Call, depends_for_client(SUBSCRIPTION_MODIFY)],
    name: SubscriptionName,
    from_: FromPosition,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Moves the subscription back or forward to a position. A parked subscription stays parked until it is resumed.

    Required permission: AccessControl.SubscriptionModify
    """
    position = integer_param(call, "from")
    if position is None:
        raise Malformed("from is missing: the position of the first event to send again.")
    wanted = call.optional_body(CommentBody)
    command = ReplaySubscription(
        **call.command_context(),
        reason=wanted.modificationComment,
        name=call.path_id("name"),
        position=position,
    )
    return json_response(await call.execute(command))
