"""Bulk jobs: their progress and their items; pause, resume and cancel them."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from io import StringIO
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from application.bulk.control_job import Action, ControlBulkJob
from application.bulk.job_response import BulkItemResponse, BulkJobResponse, to_item
from application.bulk.read_jobs import read_bulk_items, read_bulk_job
from application.bulk.records import BulkStore
from application.shared.paging import Page
from application.shared.wire import to_json
from domain.bulk.bulk_job import JobKey
from domain.shared.errors import REFUSALS
from interface.http.bulk.schemas import JobId, Outcome, OutcomeFilter
from interface.http.core.call import Call
from interface.http.core.call_route import JSON, CallRoute, depends_for_client
from interface.http.core.headers import IdempotencyKey, IfMatch, preferred_type
from interface.http.core.openapi import SchemaRef, body, lists, returns, writes
from interface.http.core.paging import (
    ContinuationToken,
    Limit,
    WantedPage,
    fitting,
    numbered_page,
    numbered_page_response,
    query_value,
)
from interface.http.core.path import BASE_PATH
from interface.http.core.problems import PROBLEMS
from interface.http.core.responses import JsonResponse, etag, json_response
from interface.http.core.schemas import CommentBody

BULK_MODIFY = "AccessControl.CredentialBulkModify"
RESETS = "/{clientExtId:segment}/bulk/resets"
JOB = f"{RESETS}/{{job:segment}}"
CODES = {name: PROBLEMS[refusal.KIND].code for name, refusal in REFUSALS.items()}
"""The error codes by the names of refusals."""
_CSV = "text/csv"
_COLUMNS = list(BulkItemResponse.model_fields)
_CONTROLLED = writes(BulkJobResponse, "The job", 409)

router = APIRouter(prefix=BASE_PATH, tags=["Bulk"], route_class=CallRoute)


@dataclass(frozen=True)
class BulkPart:
    """The dependencies of the routes of bulk jobs."""

    store: BulkStore
    max_daily_deliveries: int


class BulkItemPage(Page[BulkItemResponse]):
    """A page of the items of a bulk job."""


@router.get(
    JOB,
    summary="Get a bulk job",
    operation_id="getBulkJob",
    responses=lists(BulkJobResponse, "The job and its progress", 404),
)
async def get(call: Annotated[Call, depends_for_client(BULK_MODIFY)], job: JobId) -> Response:
    """Returns a bulk job: its status, the number of items by outcome, its rate, and the time left.

    Required permission: AccessControl.CredentialBulkModify
    """
    read = partial(read_bulk_job, jobs=call.part(BulkPart).store, clock=call.service.clock)
    found = await run_in_threadpool(read, _key(call))
    return JsonResponse(to_json(found), [(b"etag", etag(found.version).encode())])


@router.get(
    f"{JOB}/items",
    summary="List the items of a bulk job",
    operation_id="listBulkItems",
    responses=returns(
        {JSON: SchemaRef(BulkItemPage, "serialization"), _CSV: {"type": "string"}},
        "A page of items, in the order of the job",
    ),
)
async def items(
    call: Annotated[Call, depends_for_client(BULK_MODIFY, media_types=(JSON, _CSV))],
    job: JobId,
    outcome: OutcomeFilter = None,
    limit: Limit = None,
    continuationToken: ContinuationToken = None,  # noqa: N803
) -> Response:
    """Returns the items of a bulk job, page by page, as JSON or CSV. In CSV, a `Link` header names the next page.

    The read is recorded in the client's access log.

    Required permission: AccessControl.CredentialBulkModify
    """
    wanted, after = numbered_page(call)
    read = partial(read_bulk_items, _key(call), query_value(call, "outcome", Outcome), after, wanted.limit)
    found = await run_in_threadpool(read, jobs=call.part(BulkPart).store)
    shown = fitting([to_item(item, CODES) for item in found.items])
    call.count_read(item.userExtId for item in shown)
    last = shown[-1].number if found.more or len(shown) < len(found.items) else None
    if preferred_type(call.headers, (JSON, _CSV)) == _CSV:
        return _csv_response(call, wanted, shown, last)
    return numbered_page_response(wanted, [item.model_dump() for item in shown], last)


@router.post(
    f"{JOB}/pause",
    summary="Pause a bulk job",
    operation_id="pauseBulkJob",
    responses=_CONTROLLED,
    openapi_extra=body(CommentBody, required=False),
)
async def pause(
    call: Annotated[Call, depends_for_client(BULK_MODIFY)],
    job: JobId,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Pauses a bulk job. A transaction of at most 32 items that has begun is completed.

    Required permission: AccessControl.CredentialBulkModify
    """
    return await _control(call, Action.PAUSE)


@router.post(
    f"{JOB}/resume",
    summary="Resume a bulk job",
    operation_id="resumeBulkJob",
    responses=_CONTROLLED,
    openapi_extra=body(CommentBody, required=False),
)
async def resume(
    call: Annotated[Call, depends_for_client(BULK_MODIFY)],
    job: JobId,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Resumes a paused bulk job with its pending items.

    Required permission: AccessControl.CredentialBulkModify
    """
    return await _control(call, Action.RESUME)


@router.post(
    f"{JOB}/cancel",
    summary="Cancel a bulk job",
    operation_id="cancelBulkJob",
    responses=_CONTROLLED,
    openapi_extra=body(CommentBody, required=False),
)
async def cancel(
    call: Annotated[Call, depends_for_client(BULK_MODIFY)],
    job: JobId,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Cancels a bulk job: its pending items are never processed. Tickets that were reset stay reset.

    Required permission: AccessControl.CredentialBulkModify
    """
    return await _control(call, Action.CANCEL)


async def _control(call: Call, action: Action) -> Response:
    wanted = call.optional_body(CommentBody)
    command = ControlBulkJob(
        **call.command_context(),
        reason=wanted.modificationComment,
        job=call.path_id("job"),
        action=action,
    )
    return json_response(await call.execute(command))


def _key(call: Call) -> JobKey:
    return JobKey(call.subject.client_ext_id, call.path_id("job"))


def _csv_response(
    call: Call, wanted: WantedPage, items: Sequence[BulkItemResponse], last: int | None
) -> Response:
    """Return a page of items as CSV; `last` as in `numbered_page_response`."""
    text = StringIO()
    rows = csv.writer(text)
    rows.writerow(_COLUMNS)
    rows.writerows(list(item.model_dump().values()) for item in items)
    headers = {"Cache-Control": "no-store"}
    if token := wanted.after_number(last).continuationToken:
        query = {**{name: values[0] for name, values in call.query.items()}, "continuationToken": token}
        headers["Link"] = f'<{call.path}?{urlencode(query)}>; rel="next"'
    return Response(text.getvalue(), headers=headers, media_type=_CSV)
