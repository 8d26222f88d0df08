"""Evidence: files that prove events without trusting the service."""

import os
from functools import partial
from typing import Annotated, BinaryIO

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from application.record.evidence import make_evidence
from application.record.evidence_scope import EvidenceScope, evidence_scope
from interface.http.core.call import Call
from interface.http.core.call_route import CallRoute, depends, depends_for_client
from interface.http.core.large_answers import counted
from interface.http.core.openapi import returns
from interface.http.core.paging import integer_param
from interface.http.core.path import BASE_PATH
from interface.http.core.permissions import HISTORY_VIEW
from interface.http.core.problems import Malformed
from interface.http.record.routes import TICKET, RecordPart
from interface.http.record.schemas import (
    First,
    Last,
    OlderCheckpoint,
    PolicyScope,
    Since,
    StreamScope,
    SubscriptionScope,
    older_size,
    text_of,
)

router = APIRouter(prefix=BASE_PATH, tags=["Audit"], route_class=CallRoute)
EVIDENCE = "/{clientExtId:segment}/evidence"
ZIP = "application/zip"
_FILE = {ZIP: {"type": "string", "format": "binary"}}
_CHUNK_BYTES = 256 * 1024


@router.get(
    f"{TICKET}/evidence",
    summary="Get the evidence of a ticket",
    operation_id="getEvidence",
    responses=returns(_FILE, "The evidence of the ticket"),
)
async def evidence(
    call: Annotated[Call, depends(HISTORY_VIEW, media_types=[ZIP])],
    checkpoint: OlderCheckpoint = None,
    since: Since = None,
) -> Response:
    """Returns the evidence of a user's ticket: a ZIP file that can be verified without this service.

    It contains the events with their stored bytes, the texts to which they commit unless they were erased, a signed
    checkpoint, and a proof that no event is missing. It proves consistency with the stored checkpoints, or with 256 of
    them if there are more; with `checkpoint` or `since`, also with that one. Format: docs/evidence.md. The request is
    recorded in the client's access log.

    Required permission: AccessControl.HistoryView
    """
    client, user = call.subject
    return await _respond(call, evidence_scope(client, user=user))


@router.get(
    EVIDENCE,
    summary="Get the evidence of the ledger of a client, or of a part of it",
    operation_id="getLedgerEvidence",
    responses=returns(_FILE, "The evidence"),
)
async def ledger_evidence(
    call: Annotated[Call, depends_for_client(HISTORY_VIEW, media_types=[ZIP])],
    policyExtId: PolicyScope = None,  # noqa: N803
    subscription: SubscriptionScope = None,
    stream: StreamScope = None,
    first: First = None,
    last: Last = None,
    checkpoint: OlderCheckpoint = None,
    since: Since = None,
) -> Response:
    """Returns the evidence of a policy, a subscription, a stream, or the entries from `first` to `last`.

    Without parameters it is the evidence of the complete ledger. See `getEvidence`.

    Required permission: AccessControl.HistoryView
    """
    try:
        scope = evidence_scope(
            call.subject.client_ext_id,
            policy=text_of(call, "policyExtId"),
            subscription=text_of(call, "subscription"),
            stream=text_of(call, "stream"),
            first=integer_param(call, "first"),
            last=integer_param(call, "last"),
        )
    except ValueError as error:
        raise Malformed(str(error)) from None
    return await _respond(call, scope)


async def _respond(call: Call, scope: EvidenceScope) -> Response:
    since, part = older_size(call), call.part(RecordPart)

    async def export() -> Response:
        await call.note_read()
        make = partial(
            make_evidence,
            ledger=part.ledger,
            signer=part.signer,
            clock=call.service.clock,
            heads=part.heads,
            kept_nodes=part.kept_nodes,
            since=since,
        )
        return _Export(await run_in_threadpool(make, scope))

    return await counted(part.exports, (scope.client_ext_id, ""), export)


class _Export(StreamingResponse):
    """Sends a file and closes it, also if the caller disconnects."""

    def __init__(self, file: BinaryIO) -> None:
        headers = {
            "Cache-Control": "no-store",
            "Content-Disposition": 'attachment; filename="evidence.zip"',
            "Content-Length": str(file.seek(0, os.SEEK_END)),
        }
        file.seek(0)
        super().__init__(iter(partial(file.read, _CHUNK_BYTES), b""), 200, headers, ZIP)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)
