"""The public keys of the ledger."""

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from application.shared.wire import to_json, utc_date
from interface.http.core.openapi import public
from interface.http.core.room import part_of
from interface.http.record.routes import RecordPart

router = APIRouter(tags=["Audit"])


@router.get(
    "/.well-known/ticket-ledger-keys",
    summary="Get the keys that sign checkpoints and evidence",
    operation_id="getLedgerKeys",
    responses=public("The keys"),
    openapi_extra={"security": []},
)
async def keys(request: Request) -> Response:
    """Returns the verifier keys of the ledger, newest first: `key`, `fingerprint`, `since` and `until`.

    A key signs from `since` until `until`, which is null for the current key. Compare the fingerprint over another channel
    before you use a key. Format: docs/evidence.md.
    """
    found = await run_in_threadpool(part_of(request, RecordPart).published_keys)
    listed = [
        {
            "key": key.verifier_key,
            "fingerprint": key.fingerprint,
            "since": utc_date(key.since),
            "until": utc_date(key.until),
        }
        for key in found
    ]
    return Response(to_json({"keys": listed}), 200, {"Cache-Control": "no-store"}, "application/json")
