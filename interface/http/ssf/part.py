"""The dependencies and functions that the routes of security events share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from application.shared.wire import to_json
from application.subscriptions.poll import Polling
from application.subscriptions.records import StoredSubscription, Subscriptions
from application.subscriptions.security_stream import SecurityStreams
from domain.subscriptions.subscription import SubscriptionKey
from interface.http.core.call import Call
from interface.http.core.openapi import Responses, writes
from interface.http.core.paging import single_param
from interface.http.core.problems import Malformed

SSF = "/{clientExtId:segment}/ssf"
STREAMS = f"{SSF}/streams"


@dataclass(frozen=True)
class SsfPart:
    """The dependencies of the security event routes. key_set: the public keys, as a JWK set."""

    subscriptions: Subscriptions
    streams: SecurityStreams
    polling: Polling
    public_url: str
    key_set: Callable[[], Mapping[str, Any]]


def changes(schema: type, description: str, status: int = 200) -> Responses:
    """Declare the responses of an operation that changes a stream: `writes` without an entity tag."""
    responses = writes(schema, description)
    done = responses.pop(200)
    del done["headers"]["ETag"]
    return {status: done} | responses


async def find_stream(call: Call, key: SubscriptionKey) -> StoredSubscription:
    """Return a stream of the caller. Raises SubscriptionNotFound, StoreUnavailable."""
    return await run_in_threadpool(call.part(SsfPart).streams.find, key, call.caller.actor)


def requested_stream(call: Call) -> SubscriptionKey:
    """Return the stream that the query names. Raises Malformed."""
    stream_id = single_param(call, "stream_id", "")
    if not stream_id:
        raise Malformed("stream_id is missing.")
    return SubscriptionKey(call.subject.client_ext_id, stream_id)


def uncached_json(content: Any, status: int = 200) -> Response:
    """Return a response that caches do not store."""
    return Response(to_json(content), status, {"Cache-Control": "no-store"}, "application/json")
