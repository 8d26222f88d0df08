"""The deliveries of a user's tickets."""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from typing_extensions import TypedDict

from application.delivery.deliveries import TicketDeliveryItem, read_deliveries, wait_for_status
from application.delivery.outbox import Outbox
from application.delivery.record_delivery import RetryDeliveries
from application.feed.live_feed import LiveFeed
from application.record.ledger import Ledger
from application.shared.errors import Unavailable
from application.shared.wire import to_json
from application.transaction.command import Answer
from application.users.records import user, user_of
from interface.http.core.call import Call
from interface.http.core.call_route import JSON, CallRoute, depends
from interface.http.core.headers import IdempotencyKey, preferred_wait
from interface.http.core.openapi import Responses, lists, queues
from interface.http.core.paging import DEFAULT_LIMIT, Limit, page
from interface.http.core.path import BASE_PATH
from interface.http.core.permissions import CREDENTIAL_MODIFY, CREDENTIAL_VIEW

router = APIRouter(prefix=BASE_PATH, tags=["Delivery"], route_class=CallRoute)
PATH = "/{clientExtId:segment}/users/{userExtId:segment}/ticket/deliveries"
_ACCEPTED = 202


@dataclass(frozen=True)
class DeliveryPart:
    """The dependencies of the delivery routes, and of the ticket routes that wait for a delivery."""

    outbox: Outbox
    ledger: Ledger
    live: LiveFeed


class Deliveries(TypedDict):
    """The deliveries of a user's newest tickets, newest first."""

    items: list[TicketDeliveryItem]


@router.get(
    PATH,
    summary="Get the deliveries of a ticket",
    operation_id="getDeliveries",
    responses=lists(Deliveries, "The deliveries of the user's newest tickets", 404),
)
async def get(call: Annotated[Call, depends(CREDENTIAL_VIEW)], limit: Limit = None) -> Response:
    """Returns the delivery status of a user's newest tickets, newest first: queued, sent, failed or ended.

    Addresses are masked. Older deliveries are in the client's ledger. The read is recorded in the client's access log.

    Required permission: AccessControl.CredentialView
    """
    most = page(call).limit
    user(await call.load([user_of(call.subject)]), call.subject)
    call.count_read()
    return await _response(call, most)


@router.post(
    f"{PATH}/retry",
    summary="Retry the deliveries of a ticket",
    operation_id="retryDeliveries",
    status_code=_ACCEPTED,
    responses=queues(Deliveries, "The deliveries are retried"),
)
async def retry(
    call: Annotated[Call, depends(CREDENTIAL_MODIFY, CREDENTIAL_VIEW)], idempotency_key: IdempotencyKey = None
) -> Response:
    """Retries the delivery of a queued or failed ticket immediately, beginning with the first method.

    It is sent to the current address of the user, also if that changed after the ticket was minted.

    A ticket that was sent is not sent again: reset the ticket instead.

    Required permissions: AccessControl.CredentialModify, AccessControl.CredentialView
    """
    await call.execute(RetryDeliveries(**call.command_context()))
    return await _response(call, DEFAULT_LIMIT, _ACCEPTED)


def with_delivery_headers(responses: Responses) -> Responses:
    """Add the response headers of `Prefer: wait` to the responses of an operation."""
    for status, response in responses.items():
        if status in (200, 201):
            response["headers"] |= {
                "Preference-Applied": {"description": "`wait=N`, as applied.", "schema": {"type": "string"}},
                "Ticket-Delivery": {
                    "description": "The delivery status of the ticket: `queued`, `sent`, `failed`, `ended` or `none`, with"
                    ' `method` and `answer`, such as `sent;method="Email";answer="250"` (RFC 9651).',
                    "schema": {"type": "string"},
                },
            }
    return responses


async def delivery_headers(call: Call, answer: Answer) -> dict[str, str]:
    """Return the headers about the delivery of a new ticket, after it is finished or the caller's time limit."""
    seconds = preferred_wait(call.headers)
    if seconds is None or answer.version is None:
        return {}
    part = call.part(DeliveryPart)
    with suppress(
        Unavailable
    ):  # the ticket is minted: an error here would make the caller retry and mint another one
        item = await wait_for_status(
            call.subject,
            answer.version,
            seconds,
            outbox=part.outbox,
            ledger=part.ledger,
            live=part.live,
        )
        return {"Preference-Applied": f"wait={seconds}", "Ticket-Delivery": _structured(item)}
    return {}


def _structured(item: TicketDeliveryItem | None) -> str:
    """Return a delivery as a structured field (RFC 9651): a token with parameters, which hold ASCII only."""
    if item is None:
        return "none"
    parameters = {"method": item["method"], "answer": item["answer"], "why": item["why"]}
    return item["status"] + "".join(f';{name}="{value}"' for name, value in parameters.items() if value)


async def _response(call: Call, limit: int, status: int = 200) -> Response:
    part = call.part(DeliveryPart)
    read = partial(read_deliveries, limit=limit, outbox=part.outbox, ledger=part.ledger)
    items = await run_in_threadpool(read, call.subject)
    return Response(to_json({"items": items}), status, {"Cache-Control": "no-store"}, JSON)
