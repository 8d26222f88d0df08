"""Import credentials of another system."""

import asyncio
from collections import Counter
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, StrictBool
from starlette.responses import Response
from typing_extensions import TypedDict

from application.shared.fields import ExtId
from application.shared.wire import to_json
from application.tickets.credential_row import CredentialRow
from application.tickets.import_ticket import ImportTicket
from application.tickets.import_tickets import DUPLICATE, DUPLICATE_MESSAGE
from application.transaction.command import Answer, IdempotencyKeyReused
from domain.shared.subject import Subject
from interface.http.core.call import Call
from interface.http.core.call_route import Bound, CallRoute, depends_for_client
from interface.http.core.headers import IdempotencyKey, digest
from interface.http.core.openapi import body, plain_writes
from interface.http.core.path import BASE_PATH
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
    historyDigest: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9a-f]{64}$",
            description="SHA-256 of the document with the history in the other system, in hexadecimal.",
        ),
    ] = None
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
    # Of the rows of a user, only the first is imported.
    rows = {row.userExtId: row for row in reversed(wanted.items)}
    commands = {
        user: ImportTicket(
            **{
                **context,
                "subject": Subject(client_ext_id, user),
                # As many digits: 64 mean that the answer is stored (application/record/replay.py).
                "command_id": digest(first, user)[: len(first)],
                "retryable": context["retryable"] and not wanted.dryRun,
            },
            reason=row.modificationComment,
            row=row,
            source=wanted.source,
            salt_first=wanted.saltFirst,
            dry_run=wanted.dryRun,
            history_digest=wanted.historyDigest,
        )
        for user, row in rows.items()
    }
    answers: dict[str, Answer] = {}
    users = iter(commands)
    while part := list(islice(users, _TOGETHER)):
        found = await asyncio.gather(*[call.service.execute(commands[user]) for user in part])
        answers |= zip(part, found, strict=True)
    items = [_outcome(row, answers.pop(row.userExtId, None)) for row in wanted.items]
    counts = Counter(item["outcome"] for item in items)
    response: dict[str, Any] = {"dryRun": wanted.dryRun, "counts": counts, "items": items}
    return Response(to_json(response), media_type="application/json", headers={"Cache-Control": "no-store"})


def _outcome(row: CredentialRow, answer: Answer | None) -> ImportedRow:
    """Return the outcome of a row. answer: None for a second row of a user. Raises IdempotencyKeyReused."""
    if answer is None:
        return _refused(row, DUPLICATE, DUPLICATE_MESSAGE)
    if answer.refusal == IdempotencyKeyReused.CODE:
        answer.unwrap()
    if answer.refusal:
        return _refused(row, answer.refusal, answer.body)
    return {"userExtId": row.userExtId, "outcome": answer.outcome, "code": None, "message": None}


def _refused(row: CredentialRow, code: str, message: str) -> ImportedRow:
    return {"userExtId": row.userExtId, "outcome": "refused", "code": code, "message": message}
