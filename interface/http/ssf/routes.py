"""Security events: a transmitter of OpenID Shared Signals 1.0, one for each client."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from typing_extensions import TypedDict

from application.shared.wire import to_json
from application.subscriptions.poll import Poll, Polling
from application.subscriptions.records import StoredSubscription, Subscriptions
from application.subscriptions.security_event import verification_notice
from application.subscriptions.security_stream import POLL, PUSH, SecurityStreams, status_of, types_of
from application.subscriptions.subscribe import (
    ChangeSubscriptionStatus,
    DefineSubscription,
    DeleteSubscription,
)
from application.transaction.command import Precondition
from domain.shared.secret import Secret
from domain.subscriptions.subscription import Method, Status, SubscriptionKey
from interface.http.core.call import Call
from interface.http.core.call_route import CallRoute, depends_for_client
from interface.http.core.openapi import Responses, body, deletes, lists, public, writes
from interface.http.core.paging import single_param
from interface.http.core.path import BASE_PATH, ClientExtId, path_id
from interface.http.core.permissions import EVENT_VIEW, SUBSCRIPTION_MODIFY, SUBSCRIPTION_VIEW
from interface.http.core.problems import Malformed
from interface.http.core.responses import no_content
from interface.http.core.room import part_of
from interface.http.ssf.schemas import (
    PollBody,
    PushBody,
    StreamBody,
    StreamChangeBody,
    StreamId,
    StreamIdFilter,
    StreamReplacementBody,
    StreamStatusBody,
    StreamVerificationBody,
)

router = APIRouter(prefix=BASE_PATH, tags=["Security events"], route_class=CallRoute)
well_known = APIRouter(tags=["Security events"])
SSF = "/{clientExtId:segment}/ssf"
STREAMS = f"{SSF}/streams"
JWKS = "/.well-known/jwks.json"


def _changes(schema: type, description: str, status: int = 200) -> Responses:
    """Declare the responses of an operation that changes a stream: `writes` without an entity tag."""
    responses = writes(schema, description)
    done = responses.pop(200)
    del done["headers"]["ETag"]
    return {status: done} | responses


@dataclass(frozen=True)
class SsfPart:
    """The dependencies of the security event routes. key_set: the public keys, as a JWK set."""

    subscriptions: Subscriptions
    streams: SecurityStreams
    polling: Polling
    public_url: str
    key_set: Callable[[], Mapping[str, Any]]


class DeliveryItem(TypedDict):
    """How the tokens of a stream are delivered."""

    method: str
    endpoint_url: str


class StreamConfiguration(TypedDict, total=False):
    """The configuration of a stream."""

    stream_id: str
    iss: str
    aud: str
    delivery: DeliveryItem
    events_supported: list[str]
    events_requested: list[str]
    events_delivered: list[str]
    description: str


OneOrAll: Any = StreamConfiguration | list[StreamConfiguration]


class StreamStatus(TypedDict, total=False):
    """The status of a stream."""

    stream_id: str
    status: str
    reason: str


class PolledTokens(TypedDict):
    """Security event tokens by their jti."""

    sets: dict[str, str]
    moreAvailable: bool


@well_known.get(
    f"/.well-known/ssf-configuration{BASE_PATH}/{{clientExtId:segment}}",
    summary="Get the metadata of a client's transmitter",
    operation_id="getTransmitter",
    responses=public("The metadata"),
    openapi_extra={"security": []},
)
async def transmitter(request: Request, clientExtId: ClientExtId) -> Response:  # noqa: N803
    """Returns the endpoints that manage a client's streams of security events (SSF 1.0, section 7)."""
    part = part_of(request, SsfPart)
    issuer = part.streams.issuer(path_id(request.path_params, "clientExtId"))
    return _shown(
        {
            "spec_version": "1_0",
            "issuer": issuer,
            "jwks_uri": f"{part.public_url}{JWKS}",
            "delivery_methods_supported": [PUSH, POLL],
            "configuration_endpoint": f"{issuer}/ssf/streams",
            "status_endpoint": f"{issuer}/ssf/status",
            "verification_endpoint": f"{issuer}/ssf/verify",
            "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}],
            "default_subjects": "ALL",
        }
    )


@well_known.get(
    JWKS,
    summary="Get the keys that sign security events",
    operation_id="getKeys",
    responses=public("The key set"),
    openapi_extra={"security": []},
)
async def keys(request: Request) -> Response:
    """Returns the public keys that verify security event tokens (RFC 7517)."""
    return _shown(await run_in_threadpool(part_of(request, SsfPart).key_set))


@router.post(
    STREAMS,
    status_code=201,
    summary="Create a stream",
    operation_id="createStream",
    responses=_changes(StreamConfiguration, "The stream", 201),
    openapi_extra=body(StreamBody, required=False),
)
async def create(call: Annotated[Call, depends_for_client(SUBSCRIPTION_MODIFY, EVENT_VIEW)]) -> Response:
    """Creates a stream of the client's future ticket events, as CAEP `credential-change` events.

    Without `delivery`, the stream is polled. It belongs to the caller; other receivers cannot access it.

    Required permissions: AccessControl.SubscriptionModify, AccessControl.EventView
    """
    wanted = call.optional_body(StreamBody)
    terms = call.command_context()
    # From the command's id, so that a retry finds the stream of the first attempt.
    key = SubscriptionKey(call.subject.client_ext_id, terms["command_id"][:32])
    await call.execute(_definition(call, key, wanted, terms))
    return _shown(call.part(SsfPart).streams.configuration(await _stream(call, key)), 201)


@router.get(
    STREAMS,
    summary="Get a stream, or all",
    operation_id="getStreams",
    responses=lists(OneOrAll, "The stream, or a list of all if none is named", 404),
)
async def get(
    call: Annotated[Call, depends_for_client(SUBSCRIPTION_VIEW)],
    stream_id: StreamIdFilter | None = None,
) -> Response:
    """Returns the configuration of one of the caller's streams, or of all streams if none is named.

    Required permission: AccessControl.SubscriptionView
    """
    streams = call.part(SsfPart).streams
    if "stream_id" in call.query:
        return _shown(streams.configuration(await _stream(call, _named(call))))
    found = await run_in_threadpool(streams.of, call.subject.client_ext_id, call.caller.actor)
    return _shown([streams.configuration(subscribed) for subscribed in found])


@router.patch(
    STREAMS,
    summary="Change a stream",
    operation_id="changeStream",
    responses=_changes(StreamConfiguration, "The stream"),
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
    responses=_changes(StreamConfiguration, "The stream"),
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
    subscribed = await _stream(call, _named(call))
    await call.execute(DeleteSubscription(**call.command_context(), name=subscribed.row.name))
    return no_content()


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
    return _shown(status_of(await _stream(call, _named(call))))


@router.post(
    f"{SSF}/status",
    summary="Change the status of a stream",
    operation_id="changeStreamStatus",
    responses=_changes(StreamStatus, "The status"),
    openapi_extra=body(StreamStatusBody, required=True),
)
async def change_status(call: Annotated[Call, depends_for_client(SUBSCRIPTION_MODIFY)]) -> Response:
    """Enables, pauses or disables one of the caller's streams.

    Events of a paused stream are sent later; events of a disabled stream are never sent.

    Required permission: AccessControl.SubscriptionModify
    """
    wanted = call.body(StreamStatusBody)
    key = SubscriptionKey(call.subject.client_ext_id, wanted.stream_id)
    await _stream(call, key)
    command = ChangeSubscriptionStatus(
        **call.command_context(), reason=wanted.reason, name=key.name, status=Status(wanted.status)
    )
    await call.execute(command)
    return _shown(status_of(await _stream(call, key)))


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
    subscribed = await _stream(call, SubscriptionKey(call.subject.client_ext_id, wanted.stream_id))
    leave = call.part(SsfPart).subscriptions.save_notice
    await run_in_threadpool(leave, subscribed.row.key, verification_notice(wanted.state))
    return no_content()


@router.post(
    f"{STREAMS}/{{streamId:segment}}/events",
    summary="Poll a stream",
    operation_id="pollStream",
    responses=_changes(PolledTokens, "The next tokens"),
    openapi_extra=body(PollBody, required=True),
)
async def poll(
    call: Annotated[Call, depends_for_client(EVENT_VIEW)],
    streamId: StreamId,  # noqa: N803
) -> Response:
    """Returns the next security event tokens of one of the caller's streams, and records acknowledgements (RFC 8936).

    Without new tokens, it waits for up to 30 seconds unless `returnImmediately` is true. Tokens that are not
    acknowledged are returned again.

    Required permission: AccessControl.EventView
    """
    wanted = call.body(PollBody)
    subscribed = await _stream(call, SubscriptionKey(call.subject.client_ext_id, call.path_id("streamId")))
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
    return _shown({"sets": polled.tokens, "moreAvailable": polled.more})


async def _stream(call: Call, key: SubscriptionKey) -> StoredSubscription:
    return await run_in_threadpool(call.part(SsfPart).streams.find, key, call.caller.actor)


def _named(call: Call) -> SubscriptionKey:
    stream_id = single_param(call, "stream_id", "")
    if not stream_id:
        raise Malformed("stream_id is missing.")
    return SubscriptionKey(call.subject.client_ext_id, stream_id)


async def _change(call: Call, wanted: StreamReplacementBody) -> Response:
    """Change a stream, unless it was changed concurrently."""
    streams, key = call.part(SsfPart).streams, SubscriptionKey(call.subject.client_ext_id, wanted.stream_id)
    subscribed = await _stream(call, key)
    _check_ours(wanted, streams.configuration(subscribed))
    complete: StreamBody = wanted
    if isinstance(wanted, StreamChangeBody):
        complete = wanted.over(subscribed.row.terms, streams.target(subscribed))
    terms = call.command_context() | {
        "precondition": Precondition(if_match=frozenset({subscribed.row.version}))
    }
    await call.execute(_definition(call, key, complete, terms))
    return _shown(streams.configuration(await _stream(call, key)))


def _check_ours(wanted: StreamReplacementBody, known: dict[str, Any]) -> None:
    for name in ("iss", "aud", "events_supported", "events_delivered"):
        given = getattr(wanted, name)
        if given is not None and given != known[name]:
            raise Malformed(f"{name} is set by the transmitter and cannot be changed.")


def _definition(
    call: Call, key: SubscriptionKey, wanted: StreamBody, terms: dict[str, Any]
) -> DefineSubscription:
    pushed = wanted.delivery if isinstance(wanted.delivery, PushBody) else None
    authorization = pushed and pushed.authorization_header
    requested = wanted.events_requested
    return DefineSubscription(
        **terms,
        name=key.name,
        method=Method.SET_PUSH if pushed else Method.SET_POLL,
        url=Secret(pushed.endpoint_url.get_secret_value()) if pushed else None,
        authorization=Secret(authorization.get_secret_value()) if authorization else None,
        types=types_of(requested),
        audience=call.caller.actor,
        events_requested=None if requested is None else tuple(requested),
        description=wanted.description,
    )


def _shown(content: Any, status: int = 200) -> Response:
    return Response(to_json(content), status, {"Cache-Control": "no-store"}, "application/json")
