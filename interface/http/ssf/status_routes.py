"""The status of a stream, and its verification (SSF 1.0, sections 8.1.2 and 8.1.4)."""

from typing import Annotated

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from application.subscriptions.control_subscription import ChangeSubscriptionStatus
from application.subscriptions.security_event import verification_notice
from application.subscriptions.security_stream import status_of
from domain.subscriptions.subscription import Status, SubscriptionKey
from interface.http.core.call import Call
from interface.http.core.call_route import CallRoute, depends_for_client
from interface.http.core.openapi import body, deletes, lists
from interface.http.core.path import BASE_PATH
from interface.http.core.permissions import SUBSCRIPTION_MODIFY, SUBSCRIPTION_VIEW
from interface.http.core.responses import no_content
from interface.http.ssf.part import SSF, SsfPart, changes, find_stream, requested_stream, uncached_json
from interface.http.ssf.schemas import StreamIdFilter, StreamStatus, StreamStatusBody, StreamVerificationBody

router = APIRouter(prefix=BASE_PATH, tags=["Security events"], route_class=CallRoute)


@router.get(
    f"{SSF}/status",
    summary="Get the status of a stream",
    operation_id="getStreamStatus",
    responses=lists(StreamStatus, "The status", 404),
)
async def status(
    call: Annotated[Call, depends_for_client(SUBSCRIPTION_VIEW)], stream_id: StreamIdFilter
) -> Response:
    """Returns whether one of the caller's streams is enabled, paused or disabled, and why.

    Required permission: AccessControl.SubscriptionView
    """
    return uncached_json(status_of(await find_stream(call, requested_stream(call))))


@router.post(
    f"{SSF}/status",
    summary="Change the status of a stream",
    operation_id="changeStreamStatus",
    responses=changes(StreamStatus, "The status"),
    openapi_extra=body(StreamStatusBody, required=True),
)
async def change_status(call: Annotated[Call, depends_for_client(SUBSCRIPTION_MODIFY)]) -> Response:
    """Enables, pauses or disables one of the caller's streams.

    Events of a paused stream are sent later; events of a disabled stream are never sent.

    Required permission: AccessControl.SubscriptionModify
    """
    wanted = call.body(StreamStatusBody)
    key = SubscriptionKey(call.subject.client_ext_id, wanted.stream_id)
    await find_stream(call, key)
    command = ChangeSubscriptionStatus(
        **call.command_context(), reason=wanted.reason, name=key.name, status=Status(wanted.status)
    )
    await call.execute(command)
    return uncached_json(status_of(await find_stream(call, key)))


@router.post(
    f"{SSF}/verify",
    status_code=204,
    summary="Request a verification event",
    operation_id="verifyStream",
    responses=deletes("Requested", 415),
    openapi_extra=body(StreamVerificationBody, required=True),
)
async def verify(call: Annotated[Call, depends_for_client(SUBSCRIPTION_MODIFY)]) -> Response:
    """Sends a verification event with the given state over one of the caller's streams.

    It arrives within seconds on a pushed stream, and with the next poll on a polled stream.

    Required permission: AccessControl.SubscriptionModify
    """
    wanted = call.body(StreamVerificationBody)
    subscribed = await find_stream(call, SubscriptionKey(call.subject.client_ext_id, wanted.stream_id))
    save_notice = call.part(SsfPart).subscriptions.save_notice
    await run_in_threadpool(save_notice, subscribed.row.key, verification_notice(wanted.state))
    return no_content()
