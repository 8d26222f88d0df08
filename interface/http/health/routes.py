"""Health checks and metrics, for orchestrators and monitors."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from application.operations.readiness import Readiness
from application.shared.errors import Unavailable
from domain.shared.secret import Secret
from interface.http.core.problems import Unauthenticated
from interface.http.core.room import part_of

router = APIRouter(include_in_schema=False)
_EXPOSITION = "text/plain; version=1.0.0; charset=utf-8"
_UNCACHED = {"Cache-Control": "no-store"}


@dataclass(frozen=True)
class HealthPart:
    """The dependencies of the health checks. metrics_token: None if anyone may read the metrics."""

    readiness: Callable[[], Awaitable[Readiness]]
    exposition: Callable[[], bytes]
    metrics_token: Secret | None


@router.get("/livez")
async def live() -> Response:
    """Return 200: the process is alive."""
    return JSONResponse({"status": "alive"}, headers=_UNCACHED)


@router.get("/readyz")
async def ready(request: Request) -> Response:
    """Return whether the server is ready; 503 with the failed checks if not."""
    found = await part_of(request, HealthPart).readiness()
    content = {"status": "ready" if found.ready else "not ready", "checks": dict(found.checks)}
    if found.ready:
        return JSONResponse(content, headers=_UNCACHED)
    return JSONResponse(content, 503, {**_UNCACHED, "Retry-After": str(Unavailable.retry_after_seconds)})


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Return the metrics. Requires the token, if one is set. Raises Unauthenticated."""
    part = part_of(request, HealthPart)
    if part.metrics_token:
        given = request.headers.get("authorization", "")
        if not secrets.compare_digest(given.encode(), f"Bearer {part.metrics_token.reveal()}".encode()):
            raise Unauthenticated("Send TICKETS_METRICS_TOKEN as a bearer token.")
    return Response(await run_in_threadpool(part.exposition), media_type=_EXPOSITION)
