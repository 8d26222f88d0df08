"""Poll: a receiver fetches and acknowledges the tokens of its stream (RFC 8936)."""

from typing import Annotated

from fastapi import APIRouter
from starlette.responses import Response

from application.subscriptions.poll import Poll
from domain.subscriptions.subscription import Method, SubscriptionKey
from interface.http.core.call import Call
from interface.http.core.call_route import Bound, CallRoute, depends_for_client
from interface.http.core.openapi import body
from interface.http.core.path import BASE_PATH
from interface.http.core.permissions import EVENT_VIEW
from interface.http.core.problems import Malformed
from interface.http.ssf.part import STREAMS, SsfPart, changes, find_stream, uncached_json
from interface.http.ssf.schemas import PollBody, PolledTokens, StreamId

router = APIRouter(prefix=BASE_PATH, tags=["Security events"], route_class=CallRoute)


@router.post(
    f"{STREAMS}/{{streamId:segment}}/events",
    summary="Poll a stream",
    operation_id="pollStream",
    responses=changes(PolledTokens, "The next tokens"),
    openapi_extra=body(PollBody, required=True),
)
async def poll(
    call: Annotated[Call, depends_for_client(EVENT_VIEW, bound=Bound.FOLLOWER)],
    streamId: StreamId,  # noqa: N803
) -> Response:
    """Returns the next security event tokens of one of the caller's streams, and records acknowledgements (RFC 8936).

    Without new tokens, it waits for up to 30 seconds unless `returnImmediately` is true. Tokens that are not
    acknowledged are returned again.

    Required permission: AccessControl.EventView
    """
    wanted = call.body(PollBody)
    subscribed = await find_stream(
        call, SubscriptionKey(call.subject.client_ext_id, call.path_id("streamId"))
    )
    if subscribed.row.terms.method is not Method.SET_POLL:
        raise Malformed("This stream is pushed, not polled.")
    polled = await call.part(SsfPart).polling.poll(
        subscribed,
        Poll(
            acknowledged=wanted.ack,
            refused={jti: f"{error.err}: {error.description}" for jti, error in wanted.setErrs.items()},
            limit=wanted.maxEvents,
            returns_immediately=wanted.returnImmediately,
        ),
    )
    return uncached_json({"sets": polled.tokens, "moreAvailable": polled.more})
