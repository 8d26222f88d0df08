"""The subscriptions of a client: webhooks that receive its events."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from application.record.ledger import Ledger
from application.shared.wire import to_json
from application.subscriptions.control_subscription import DeleteSubscription
from application.subscriptions.define_subscription import DefineSubscription
from application.subscriptions.read_subscriptions import (
    SubscriptionList,
    SubscriptionResponse,
    read_subscription,
    read_subscriptions,
)
from application.subscriptions.records import Subscriptions
from application.transaction.outcomes import Outcome
from domain.shared.secret import Secret
from domain.subscriptions.subscription import Method, SubscriptionKey
from interface.http.core.call import Call
from interface.http.core.call_route import Bound, CallRoute, depends_for_client
from interface.http.core.headers import IfMatch
from interface.http.core.openapi import body, deletes, links_to, lists, puts
from interface.http.core.path import BASE_PATH
from interface.http.core.permissions import EVENT_VIEW, SUBSCRIPTION_MODIFY, SUBSCRIPTION_VIEW
from interface.http.core.responses import etag, json_response, no_content
from interface.http.subscriptions.schemas import DefinedSubscription, SubscriptionBody, SubscriptionName

router = APIRouter(prefix=BASE_PATH, tags=["Subscriptions"], route_class=CallRoute)
LIST = "/{clientExtId:segment}/subscriptions"
PATH = f"{LIST}/{{name:segment}}"
_LINKS = links_to(
    "getSubscription", "resumeSubscription", "replaySubscription", "deleteSubscription", of="name"
)


@dataclass(frozen=True)
class SubscriptionPart:
    """The dependencies of the subscription routes."""

    subscriptions: Subscriptions
    ledger: Ledger
    new_webhook_secret: Callable[[], Secret]


@router.put(
    PATH,
    summary="Define or replace a subscription",
    operation_id="defineSubscription",
    responses=puts(DefinedSubscription, "The subscription", 404, 422, links=_LINKS),
    openapi_extra=body(SubscriptionBody, required=True),
)
async def define(
    call: Annotated[Call, depends_for_client(SUBSCRIPTION_MODIFY, EVENT_VIEW)],
    name: SubscriptionName,
    if_match: IfMatch = None,
) -> Response:
    """Sends the client's events to a URL by POST, in order; each event is retried until it is acknowledged.

    Any 2xx is an acknowledgement; a 410 parks the subscription immediately. Requests are signed according to Standard
    Webhooks. Nothing is sent to private networks unless the operator allows the host, and redirects are not followed.

    Required permissions: AccessControl.SubscriptionModify, AccessControl.EventView
    """
    wanted = call.body(SubscriptionBody)
    new_secret = None if wanted.secret else call.part(SubscriptionPart).new_webhook_secret()
    answer = await call.execute(
        DefineSubscription(
            **call.command_context(),
            reason=wanted.modificationComment,
            name=call.path_id("name"),
            method=Method.WEBHOOK,
            url=Secret(wanted.url.get_secret_value()),
            secret=new_secret or (Secret(wanted.secret.get_secret_value()) if wanted.secret else None),
            rotates=new_secret is None,
            types=tuple(wanted.types) if wanted.types else None,
            batch_size=wanted.batchSize,
            after=wanted.after,
        )
    )
    if answer.outcome != Outcome.CREATED:
        return json_response(answer)
    content = json.loads(answer.body) | {"secret": new_secret.reveal() if new_secret else None}
    headers = {"Cache-Control": "no-store", "ETag": etag(answer.version or 0)}
    return Response(to_json(content), 201, headers, "application/json")


@router.get(
    PATH,
    summary="Get a subscription",
    operation_id="getSubscription",
    responses=lists(SubscriptionResponse, "The subscription", 404),
)
async def get(
    call: Annotated[Call, depends_for_client(SUBSCRIPTION_VIEW)], name: SubscriptionName
) -> Response:
    """Returns a subscription, its position, and its last error.

    Required permission: AccessControl.SubscriptionView
    """
    part = call.part(SubscriptionPart)
    read = partial(read_subscription, subscriptions=part.subscriptions, ledger=part.ledger)
    found = await run_in_threadpool(read, _key(call))
    return _uncached_json(found.model_dump_json(), found.version)


@router.get(
    LIST,
    summary="List subscriptions",
    operation_id="listSubscriptions",
    responses=lists(SubscriptionList, "The subscriptions of the client"),
)
async def find(call: Annotated[Call, depends_for_client(SUBSCRIPTION_VIEW, bound=Bound.PAGE)]) -> Response:
    """Returns every subscription of the client, with its position and its last error.

    Required permission: AccessControl.SubscriptionView
    """
    part = call.part(SubscriptionPart)
    read = partial(read_subscriptions, subscriptions=part.subscriptions, ledger=part.ledger)
    found = await run_in_threadpool(read, call.subject.client_ext_id)
    return _uncached_json(found.model_dump_json())


@router.delete(
    PATH,
    summary="Delete a subscription",
    operation_id="deleteSubscription",
    status_code=204,
    responses=deletes(),
)
async def delete(
    call: Annotated[Call, depends_for_client(SUBSCRIPTION_MODIFY)],
    name: SubscriptionName,
    if_match: IfMatch = None,
) -> Response:
    """Deletes the subscription, with its URL and its secret.

    Required permission: AccessControl.SubscriptionModify
    """
    await call.execute(DeleteSubscription(**call.command_context(), name=call.path_id("name")))
    return no_content()


def _key(call: Call) -> SubscriptionKey:
    return SubscriptionKey(call.subject.client_ext_id, call.path_id("name"))


def _uncached_json(content: str, version: int | None = None) -> Response:
    headers = {"Cache-Control": "no-store"} | ({"ETag": etag(version)} if version else {})
    return Response(content, headers=headers, media_type="application/json")
