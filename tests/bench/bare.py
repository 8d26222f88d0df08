"""The bare ASGI app: the server under this service (uvicorn, httptools, uvloop) with the answer of a reset, and no framework.

The figures of an operation are compared with it: `python -m tests.bench.bare PORT`.
"""

import json
import sys

import uvicorn
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

BODY = json.dumps(
    {
        "created": "2026-11-23T09:42:00Z",
        "lastModified": "2026-11-23T09:42:00Z",
        "version": 1,
        "extId": "8e24f7c4-4a6b-4f6e-9a0a-0f9d3c0f7b1e",
        "userExtId": "user-0",
        "policyExtId": "default",
        "stateName": "active",
        "stateChangeReason": "reset",
        "stateChangeDetail": None,
        "lastSuccessfulLoginDate": None,
        "successfulLoginCount": 0,
        "lastFailedLoginDate": None,
        "failedLoginCount": 0,
        "modificationComment": None,
        "type": "Ticket Authorization",
        "validity": {"from": "2026-11-23T09:42:00Z", "to": "2026-11-28T09:42:00Z"},
        "ticket": "{SSHA256}" + "A" * 64,
        "failureCount": 0,
        "successCount": 0,
        "resetCount": 1,
    },
    separators=(",", ":"),
)
_HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())],
}
_ANSWER = {"type": "http.response.body", "body": BODY.encode()}


async def app(_scope: Scope, _receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Answer each request with the same JSON."""
    await send(_HEAD)  # type: ignore[arg-type]
    await send(_ANSWER)  # type: ignore[arg-type]


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
