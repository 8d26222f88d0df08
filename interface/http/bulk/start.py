"""Start a bulk job."""

import json
from functools import partial
from typing import Annotated

from fastapi import APIRouter
from msgspec.structs import replace
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from application.bulk.dry_run import DryRun, dry_run, users_matching
from application.bulk.job_response import BulkJobResponse
from application.bulk.start_reset import StartBulkReset, check_unfinished, check_users
from application.bulk.user_rows import Format, users_in
from application.shared.fields import Comment
from application.shared.wire import to_json
from application.tickets.find_tickets import TicketQuery
from application.tickets.regenerate_ticket import RegenerateTicket
from application.transaction.command import ANSWERS, CommandKey, Precondition
from application.transaction.records import Load
from domain.bulk.bulk_job import MAX_USERS
from interface.http.bulk.routes import BULK_MODIFY, CODES, RESETS, BulkPart
from interface.http.bulk.schemas import (
    MAX_PACE,
    BulkBody,
    BulkOptions,
    CommentParam,
    DryRunParam,
    ExpectedCountParam,
    PaceParam,
)
from interface.http.core.call import Call
from interface.http.core.call_route import Bound, CallRoute, depends_for_client
from interface.http.core.headers import IdempotencyKey
from interface.http.core.openapi import SchemaRef, patches, plain_writes
from interface.http.core.paging import integer_param, query_value
from interface.http.core.path import BASE_PATH
from interface.http.core.problems import UnsupportedMediaType
from interface.http.core.responses import JsonResponse, json_response

router = APIRouter(prefix=BASE_PATH, tags=["Bulk"], route_class=CallRoute)
_ACCEPTED = 202
_TEXT = {"schema": {"type": "string"}}
_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": SchemaRef(BulkBody)},
        **{form.value: _TEXT for form in Format},
    },
}
_RESPONSES = patches(DryRun, "The result that the job would have now; nothing is started")
del _RESPONSES[200]["headers"]["ETag"]
_JOB = plain_writes(BulkJobResponse, "The job is started")[200]
_JOB["headers"]["Location"] = {"description": "URL of the job.", "schema": {"type": "string"}}


@router.post(
    RESETS,
    summary="Reset the tickets of many users",
    operation_id="startBulkReset",
    status_code=_ACCEPTED,
    responses={_ACCEPTED: _JOB, **_RESPONSES},
    openapi_extra={"requestBody": _BODY},
)
async def start(
    call: Annotated[Call, depends_for_client(BULK_MODIFY, bound=Bound.PAGE)],
    pace: PaceParam = None,
    expectedCount: ExpectedCountParam = None,  # noqa: N803
    dryRun: DryRunParam = None,  # noqa: N803
    modificationComment: CommentParam = None,  # noqa: N803
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Starts a job that resets the tickets of up to 100,000 users, each once, in the background.

    The users are ids, a filter of the search for tickets, or a file: CSV with a column `userExtId`, or NDJSON with an id or
    an object with `userExtId` in each line. They are frozen when the job starts. Each item is an ordinary reset on behalf of
    the caller; its event names the job. A user who cannot be reset is a refused item with its reason.

    With `dryRun`, the response is the result that the job would have now, with status 200.

    Required permission: AccessControl.CredentialBulkModify
    """
    part, context = call.part(BulkPart), call.sending_context()
    key = CommandKey(call.subject.client_ext_id, context["command_id"])
    if context["retryable"] and (await call.load([Load(ANSWERS, key)])).get(ANSWERS, key):
        # A retry gets the first answer, also if other users match the filter by now.
        return await _started(call, StartBulkReset(**context, job="", users=()))
    wanted, users = await run_in_threadpool(_wanted, call)
    if wanted.dryRun:
        check_users(users, wanted.expectedCount)
        plain = {"command_id": "", "retryable": False, "precondition": Precondition()}
        find = partial(
            dry_run,
            users,
            RegenerateTicket(**{**context, **plain}),
            CODES,
            store=part.store,
            clock=call.service.clock,
            max_daily_deliveries=part.max_daily_deliveries,
        )
        report = await run_in_threadpool(find)
        call.count_read(item.userExtId for item in report.items)
        return JsonResponse(to_json(report))
    command = StartBulkReset(
        **context,
        reason=wanted.modificationComment,
        job=call.service.new_uuid().hex,
        users=users,
        pace=wanted.pace,
        expected_count=wanted.expectedCount,
    )
    await run_in_threadpool(check_unfinished, call.subject.client_ext_id, jobs=part.store)
    return await _started(call, command)


async def _started(call: Call, command: StartBulkReset) -> Response:
    answer = await call.execute(command)
    job = json.loads(answer.body)["job"]
    return json_response(replace(answer, version=None), _ACCEPTED, Location=f"{call.path}/{job}")


def _wanted(call: Call) -> tuple[BulkOptions, tuple[str, ...]]:
    """Return the options and the users, each once. Raises HttpError, InvalidBulkFile, StoreUnavailable."""
    form = _format(call)
    if form:
        options = BulkOptions(
            modificationComment=query_value(call, "modificationComment", Comment),
            pace=integer_param(call, "pace", 1, MAX_PACE),
            dryRun=query_value(call, "dryRun", bool) or False,
            expectedCount=integer_param(call, "expectedCount", 0, MAX_USERS),
        )
        return options, users_in([call.content], form)
    body = call.body(BulkBody)
    if body.userExtIds is not None:
        return body, tuple(dict.fromkeys(body.userExtIds))
    assert body.filter is not None  # noqa: S101 - validated
    query = TicketQuery(
        client_ext_id=call.subject.client_ext_id,
        now=call.service.clock(),
        state=body.filter.stateName,
        policy_ext_id=body.filter.policyExtId,
        expires_before=body.filter.expiresBefore,
        last_modified_after=body.filter.lastModifiedAfter,
    )
    return body, users_matching(query, store=call.part(BulkPart).store)


def _format(call: Call) -> Format | None:
    """Return the format of a file; None: the body is JSON. Raises UnsupportedMediaType."""
    content_types = call.headers.getlist("content-type")
    media_type = content_types[0].partition(";")[0].strip().lower() if len(content_types) == 1 else ""
    if media_type not in set(Format):
        return None
    if call.headers.get("content-encoding") not in (None, "identity"):
        raise UnsupportedMediaType("Send the body without a content encoding.")
    return Format(media_type)
