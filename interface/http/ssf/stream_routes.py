"""The streams of a receiver: create, change and delete them (SSF 1.0, section 8.1.1)."""

from typing import Annotated, Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from application.subscriptions.control_subscription import DeleteSubscription
from application.subscriptions.define_subscription import DefineSubscription
from application.subscriptions.security_stream import types_of
from application.transaction.command import Precondition
from domain.shared.secret import Secret
from domain.subscriptions.subscription import Method, SubscriptionKey
from interface.http.core.call import Call
from interface.http.core.call_route import Bound, CallRoute, depends_for_client
from interface.http.core.openapi import body, deletes, lists
from interface.http.core.path import BASE_PATH
from interface.http.core.permissions import EVENT_VIEW, SUBSCRIPTION_MODIFY, SUBSCRIPTION_VIEW
from interface.http.core.problems import Malformed
from interface.http.core.responses import no_content
from interface.http.ssf.part import STREAMS, SsfPart, changes, find_stream, requested_stream, uncached_json
from interface.http.ssf.schemas import (
    OneOrAll,
    PushBody,
    StreamBody,
    StreamChangeBody,
    StreamConfiguration,
    StreamIdFilter,
    StreamReplacementBody,
)

router = APIRouter(prefix=BASE_PATH, tags=["Security events"], route_class=CallRoute)


@router.post(
    STREAMS,
    status_code=201,
    summary="Create a stream",
    operation_id="createStream",
    responses=changes(StreamConfiguration, "The stream", 201),
    openapi_extra=body(StreamBody, required=False),
)
async def create(call: Annotated[Call, depends_for_client(SUBSCRIPTION_MODIFY, EVENT_VIEW)]) -> Response:
    """Creates a stream of the client's future ticket events, as CAEP `credential-change` events.

    Without `delivery`, the stream is polled. It belongs to the caller; other receivers cannot access it.

    Required permissions: AccessControl.SubscriptionModify, AccessControl.EventView
    """
    wanted = call.optional_body(StreamBody)
    context = call.command_context()
    # From the command's id, so that a retry finds the stream of the first attempt.
    key = SubscriptionKey(call.subject.client_ext_id, context["command_id"][:32])
    await call.execute(_definition(call, key, wanted, context))
    return uncached_json(call.part(SsfPart).streams.configuration(await find_stream(call, key)), 201)


@router.get(
    STREAMS,
    summary="Get a stream, or all",
    operation_id="getStreams",
    responses=lists(OneOrAll, "The stream, or a list of all if none is named", 404),
)
async def get(
    call: Annotated[Call, depends_for_client(SUBSCRIPTION_VIEW, bound=Bound.PAGE)],
    stream_id: StreamIdFilter | None = None,
) -> Response:
    """Returns the configuration of one of the caller's streams, or of all streams if none is named.

    Required permission: AccessControl.SubscriptionView
    """
    streams = call.part(SsfPart).streams
    if "stream_id" in call.query:
        return uncached_json(streams.configuration(await find_stream(call, requested_stream(call))))
    found = await run_in_threadpool(streams.of, call.subject.client_ext_id, call.caller.actor)
    return uncached_json([streams.configuration(subscribed) for subscribed in found])


@router.patch(
    STREAMS,
    summary="Change a stream",
    operation_id="changeStream",
    responses=changes(StreamConfiguration, "The stream"),
    openapi_extra=body(StreamChangeBody, required=True),
)
async def change(call: Annotated[Call, depends_for_client(SUBSCRIPTION_MODIFY, EVENT_VIEW)]) -> Response:
    """Changes the given properties of one of the caller's streams; the others are kept.

    Required permissions: AccessControl.SubscriptionModify, AccessControl.EventView
    """
    return await _change(call, call.body(StreamChangeBody))


@router.put(
    STREAMS,
    summary="Replace a stream",
    operation_id="replaceStream",
    responses=changes(StreamConfiguration, "The stream"),
    openapi_extra=body(StreamReplacementBody, required=True),
)
async def replace(call: Annotated[Call, depends_for_client(SUBSCRIPTION_MODIFY, EVENT_VIEW)]) -> Response:
    """Replaces the configuration of one of the caller's streams; omitted properties are reset.

    Required permissions: AccessControl.SubscriptionModify, AccessControl.EventView
    """
    return await _change(call, call.body(StreamReplacementBody))


@router.delete(
    STREAMS,
    status_code=204,
    summary="Delete a stream",
    operation_id="deleteStream",
    responses=deletes(),
)
async def delete(
    call: Annotated[Call, depends_for_client(SUBSCRIPTION_MODIFY)], stream_id: StreamIdFilter
) -> Response:
    """Deletes one of the caller's streams.

    Required permission: AccessControl.SubscriptionModify
    """
    subscribed = await find_stream(call, requested_stream(call))
    await call.execute(DeleteSubscription(**call.command_context(), name=subscribed.row.name))
    return no_content()


async def _change(call: Call, wanted: StreamReplacementBody) -> Response:
    """Change a stream, unless it was changed concurrently."""
    streams, key = call.part(SsfPart).streams, SubscriptionKey(call.subject.client_ext_id, wanted.stream_id)
    subscribed = await find_stream(call, key)
    _check_transmitter_properties(wanted, streams.configuration(subscribed))
    complete: StreamBody = wanted
    if isinstance(wanted, StreamChangeBody):
        complete = wanted.over(subscribed.row.terms, streams.target(subscribed))
    context = call.command_context() | {
        "precondition": Precondition(if_match=frozenset({subscribed.row.version}))
    }
    await call.execute(_definition(call, key, complete, context))
    return uncached_json(streams.configuration(await find_stream(call, key)))


def _check_transmitter_properties(wanted: StreamReplacementBody, known: dict[str, Any]) -> None:
    for name in ("iss", "aud", "events_supported", "events_delivered"):
        given = getattr(wanted, name)
        if given is not None and given != known[name]:
            raise Malformed(f"{name} is set by the transmitter and cannot be changed.")


def _definition(
    call: Call, key: SubscriptionKey, wanted: StreamBody, context: dict[str, Any]
) -> DefineSubscription:
    pushed = wanted.delivery if isinstance(wanted.delivery, PushBody) else None
    authorization = pushed and pushed.authorization_header
    requested = wanted.events_requested
    return DefineSubscription(
        **context,
        name=key.name,
        method=Method.SET_PUSH if pushed else Method.SET_POLL,
        url=Secret(pushed.endpoint_url.get_secret_value()) if pushed else None,
        authorization=Secret(authorization.get_secret_value()) if authorization else None,
        types=types_of(requested),
        audience=call.caller.actor,
        events_requested=None if requested is None else tuple(requested),
        description=wanted.description,
    )
