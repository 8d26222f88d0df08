"""The event feed of a client."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from application.feed.event_reference import DIALECT, data_schema
from application.feed.feed import TYPES as EVENT_TYPES
from application.feed.feed import FeedQuery
from application.feed.feed_event import schema_path
from application.feed.formats import CLOUD_EVENTS, FORMATS, Format
from application.feed.live_feed import LiveFeed
from interface.http.core.call import Call
from interface.http.core.call_route import Bound, CallRoute, depends_for_client
from interface.http.core.headers import preferred_type
from interface.http.core.openapi import SchemaRef, returns
from interface.http.core.paging import Limit, fitting, integer_param, page
from interface.http.core.path import BASE_PATH
from interface.http.core.permissions import EVENT_VIEW
from interface.http.core.problems import NoSuchPath
from interface.http.core.room import part_of
from interface.http.feed import asyncapi
from interface.http.feed.event_stream import HEARTBEAT_SECONDS, MEDIA_TYPE, EventStream, Sent
from interface.http.feed.schemas import (
    LONGEST_WAIT_SECONDS,
    After,
    LastEventId,
    TypesFilter,
    Wait,
    after_event,
    feed_query,
    resume_after,
)

router = APIRouter(prefix=BASE_PATH, tags=["Events"], route_class=CallRoute)
EVENTS = "/{clientExtId:segment}/events"
_MEDIA_TYPES = tuple(FORMATS)


def _schema(output: Format) -> dict[str, Any]:
    if output.item is None:
        return {"type": "string"}
    return {"type": "array", "items": SchemaRef(output.item, "serialization")}


@dataclass(frozen=True)
class FeedPart:
    """The dependencies of the feed routes. patience_seconds: time after which a reader that reads nothing is disconnected."""

    live: LiveFeed
    public_url: str
    patience_seconds: float


async def _asyncapi(request: Request) -> Response:
    public_url = part_of(request, FeedPart).public_url
    return JSONResponse(asyncapi.document(request.app.title, request.app.version, public_url))


async def _schema_of_type(request: Request) -> Response:
    topic = request.path_params["topic"]
    if topic not in EVENT_TYPES:
        raise NoSuchPath("No event type has this name.")
    url = f"{part_of(request, FeedPart).public_url}{schema_path(topic)}"
    content = {"$schema": DIALECT, "$id": url} | data_schema(topic)
    return JSONResponse(content, media_type="application/schema+json")


documents = APIRouter()
documents.add_route("/asyncapi.json", _asyncapi)
documents.add_route(schema_path("{topic}"), _schema_of_type)


@router.get(
    EVENTS,
    summary="Get the events after a position",
    operation_id="getEvents",
    responses=returns(
        {media_type: _schema(output) for media_type, output in FORMATS.items()},
        "The next events, by position; empty if there are none",
    ),
)
async def events(
    call: Annotated[Call, depends_for_client(EVENT_VIEW, media_types=_MEDIA_TYPES)],
    after: After = None,
    limit: Limit = None,
    wait: Wait = None,
    types: TypesFilter = None,
) -> Response:
    """Returns the client's events after a position, oldest first, as CloudEvents.

    `id` is the position in the client's ledger: 1, 2, 3 … without a gap. Store the id of the last event that you
    processed, and resume after it. `previous` is the id of the preceding event: if it is not your last id, you missed
    an event.

    Required permission: AccessControl.EventView
    """
    query = feed_query(call, call.subject.client_ext_id, after_event(call))
    seconds = integer_param(call, "wait", 0, LONGEST_WAIT_SECONDS) or 0
    output = FORMATS[preferred_type(call.headers, _MEDIA_TYPES) or CLOUD_EVENTS.media_type]
    batch = await call.part(FeedPart).live.read(query, page(call).limit, seconds, output)
    # The reader resumes after the last event that it got; a receiver that acknowledges a batch must get all of it.
    content = output.join(fitting(output.encode_batch(query, batch), len))
    return Response(content, media_type=output.media_type, headers={"Cache-Control": "no-store"})


@router.get(
    f"{EVENTS}/stream",
    summary="Follow the events as they happen",
    operation_id="streamEvents",
    responses=returns({MEDIA_TYPE: {"type": "string"}}, "Events, until the reader disconnects"),
)
async def stream(
    call: Annotated[Call, depends_for_client(EVENT_VIEW, media_types=[MEDIA_TYPE], bound=Bound.FOLLOWER)],
    after: After = None,
    types: TypesFilter = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Sends the client's events as server-sent events: `data` is a CloudEvent, `id` its position.

    A reader that reconnects sends the last id received as Last-Event-ID, as browsers do. Without events, a comment is
    sent every 15 seconds. When the service ends the stream, the last event is named `end` and has the reason.

    Required permission: AccessControl.EventView
    """
    last = resume_after(call, after_event(call))
    query = feed_query(call, call.subject.client_ext_id, last)
    before = await call.part(FeedPart).live.before(query)
    return EventStream(
        _batches(call, query, before),
        permit=call.still_permitted(EVENT_VIEW),
        patience_seconds=call.part(FeedPart).patience_seconds,
    )


async def _batches(call: Call, query: FeedQuery, before: int) -> AsyncGenerator[list[Sent], None]:
    following = call.part(FeedPart).live.follow(query, before, idle_seconds=HEARTBEAT_SECONDS)
    async with aclosing(following) as batches:
        async for batch in batches:
            yield [
                Sent(event.id, CLOUD_EVENTS.encode_event(event, previous))
                for event, previous in batch.with_previous(query)
            ]
