"""Import credentials of another system."""

import asyncio
from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, StrictBool
from starlette.responses import Response
from typing_extensions import TypedDict

from application.shared.fields import ExtId
from application.shared.wire import to_json
from application.tickets.credential_row import CredentialRow
from application.tickets.import_ticket import ImportTicket
from application.transaction.command import Answer, IdempotencyKeyReused
from domain.shared.subject import Subject
from interface.http.core.call import Call
from interface.http.core.call_route import Bound, CallRoute, depends_for_client
from interface.http.core.headers import IdempotencyKey, digest
from interface.http.core.openapi import body, plain_writes
from interface.http.core.path import BASE_PATH
from interface.http.core.problems import Malformed
from interface.http.core.schemas import StrictBody

router = APIRouter(prefix=BASE_PATH, tags=["Ticket"], route_class=CallRoute)
PATH = "/{clientExtId:segment}/import"
CREDENTIAL_IMPORT = "AccessControl.CredentialImport"
MAX_ROWS = 100
# Fewer than the slow hashes of a client that wait.
_TOGETHER = 25


class ImportBody(StrictBody):
    """Credentials of another system."""

    source: Annotated[ExtId, Field(description="Name of the other system.")]
    saltFirst: Annotated[
        StrictBool, Field(description="The salt of a fast hash stands before the ticket, not after it.")
    ] = False
    dryRun: Annotated[StrictBool, Field(description="Check the rows, and change nothing.")] = False
    items: Annotated[list[CredentialRow], Field(min_length=1, max_length=MAX_ROWS)]


class ImportedRow(TypedDict):
    """The outcome of a row."""

    userExtId: str
    outcome: Annotated[str, Field(description="`created`, `changed`, `unchanged` or `refused`.")]
    code: Annotated[str | None, Field(description="The code of a refusal.")]
    message: Annotated[str | None, Field(description="The message of a refusal.")]


class ImportResponse(BaseModel):
    """The outcome of each row, in their order, and the numbers of outcomes."""

    dryRun: bool
    counts: dict[str, int]
    items: list[ImportedRow]


@router.post(
    PATH,
    summary="Import tickets of another system",
    operation_id="importTickets",
    responses=plain_writes(ImportResponse, "The outcome of each row"),
    openapi_extra=body(ImportBody, required=True),
)
async def import_(
    call: Annotated[Call, depends_for_client(CREDENTIAL_IMPORT, bound=Bound.PAGE)],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Imports ticket credentials with their hashes; nothing is sent. A row that was imported before changes nothing.

    The users are registered before. A row is refused, and the others are imported, if its user or policy is unknown, or this
    service has changed or created the credential. Larger files are imported by `tickets credentials import`.

    Required permission: AccessControl.CredentialImport
    """
    wanted, context = call.body(ImportBody), call.command_context()
    client_ext_id, first = call.subject.client_ext_id, context["command_id"]
    if len({row.userExtId for row in wanted.items}) < len(wanted.items):
        raise Malformed("items: two rows have the same userExtId.")
    commands = [
        ImportTicket(
            **{
                **context,
                "subject": Subject(client_ext_id, row.userExtId),
                "command_id": digest(first, str(number)),
                "retryable": context["retryable"] and not wanted.dryRun,
            },
            reason=row.modificationComment,
            row=row,
            source=wanted.source,
            salt_first=wanted.saltFirst,
            dry_run=wanted.dryRun,
        )
        for number, row in enumerate(wanted.items)
    ]
    answers: list[Answer] = []
    for begin in range(0, len(commands), _TOGETHER):
        part = map(call.service.execute, commands[begin : begin + _TOGETHER])
        answers += await asyncio.gather(*part)
    items = [_outcome(row, answer) for row, answer in zip(wanted.items, answers, strict=True)]
    counts = Counter(item["outcome"] for item in items)
    found: dict[str, Any] = {"dryRun": wanted.dryRun, "counts": counts, "items": items}
    return Response(to_json(found), media_type="application/json", headers={"Cache-Control": "no-store"})


def _outcome(row: CredentialRow, answer: Answer) -> ImportedRow:
    """Return the outcome of a row. Raises IdempotencyKeyReused, which concerns the request."""
    if answer.refusal == IdempotencyKeyReused.CODE:
        answer.unwrap()
    if answer.refusal:
        return {
            "userExtId": row.userExtId,
            "outcome": "refused",
            "code": answer.refusal,
            "message": answer.body,
        }
    return {"userExtId": row.userExtId, "outcome": answer.outcome, "code": None, "message": None}
