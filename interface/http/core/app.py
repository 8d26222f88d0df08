"""The HTTP application: routes, errors and documents."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import fastapi_offline
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.datastructures import State
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.responses import HTMLResponse, Response
from starlette.routing import Match
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Lifespan

from interface import version
from interface.http.core import openapi
from interface.http.core.call import REFUSALS, Service, refused
from interface.http.core.envelope import Envelope, Exchange
from interface.http.core.path_table import PathTable
from interface.http.core.problems import MethodNotAllowed, NoSuchPath, problem_response
from interface.http.core.room import Room, parts_of
from interface.http.core.secure_headers import NOTHING, policy_of_page, secure_headers

_TITLE = "Ticket credentials"
_DOCS = "/docs"
_ASSETS = f"{_DOCS}/assets"
# Swagger UI has dark styles for this class.
_DARK_MODE = (
    "<script>document.documentElement.classList"
    ".toggle('dark-mode', matchMedia('(prefers-color-scheme: dark)').matches)</script>"
)
# The methods and headers of other origins' pages, if CORS is on.
_METHODS = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE")
_SENT_HEADERS = (
    *("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Prefer"),
    *("Last-Event-ID", "traceparent"),
)
_SHOWN_HEADERS = ("ETag", "Location", "Retry-After", "traceparent", "Ticket-Delivery", "Preference-Applied")


class _Application(FastAPI):
    """The framework's application, with the envelope and the path table before its layers.

    front: returns the layers before the framework, for the state of the application and the framework behind them.
    """

    def __init__(self, *, front: Callable[[State, ASGIApp], ASGIApp], **named: Any) -> None:
        super().__init__(**named)
        self._front = front

    def build_middleware_stack(self) -> ASGIApp:
        """Return the layers. The envelope is outermost, since it has its own response to an unhandled exception."""
        outermost = cast("ServerErrorMiddleware", super().build_middleware_stack())
        return self._front(self.state, outermost.app)


def create_app(
    service: Service,
    rooms: Sequence[Room],
    lifespan: Lifespan[FastAPI],
    observe: Callable[[Exchange], None] = lambda _: None,
    *,
    cors_origins: Collection[str] = (),
    hsts_seconds: int | None = None,
) -> FastAPI:
    """Return the ASGI application over the service, with the routes of these rooms.

    observe: called after every response. cors_origins: origins whose pages may call the service.
    hsts_seconds: how long browsers require TLS; None: no header.
    """
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=_TITLE,
        swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{_ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{_ASSETS}/favicon.png",
        # Otherwise a third-party server would fetch and validate the document.
        swagger_ui_parameters={"validatorUrl": None},
    )
    html = bytes(page.body).decode().replace("<head>", f"<head>\n{_DARK_MODE}", 1)
    routers = [router for room in rooms for router in room.routers]

    def front(state: State, framework: ASGIApp) -> Envelope:
        return Envelope(
            PathTable(routers, state, framework),
            observe=observe,
            headers=secure_headers(NOTHING, hsts_seconds),
            body_limits={end: limit for room in rooms for end, limit in room.body_limits.items()},
            headers_of={_DOCS: secure_headers(policy_of_page(html), hsts_seconds)},
            around=partial(_with_cors, origins=cors_origins) if cors_origins else None,
        )

    app = _Application(
        front=front,
        title=_TITLE,
        version=version.current(),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        # The service has its own, without ids of users (ADR 11).
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.service = service
    app.state.parts = parts_of(rooms)
    app.openapi = lambda: openapi.document(app, routers)  # type: ignore[method-assign]
    for kind in REFUSALS:
        app.add_exception_handler(kind, _refused)
    app.add_exception_handler(HTTPException, partial(_no_route, routers))
    for router in routers:
        app.include_router(router)
    assets = Path(fastapi_offline.__file__).with_name("static")
    app.mount(_ASSETS, StaticFiles(directory=assets), name="docs-assets")
    app.add_route(_DOCS, lambda _: HTMLResponse(html))
    return app


def _with_cors(app: ASGIApp, *, origins: Collection[str]) -> ASGIApp:
    """Allow pages of these origins. Without credentials: scripts send a token, only cookies would be sent by the browser."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=_METHODS,
        allow_headers=_SENT_HEADERS,
        expose_headers=_SHOWN_HEADERS,
    )


async def _refused(request: Request, error: Exception) -> Response:
    return await refused(request.app.state.service, request.scope["state"], error)


async def _no_route(routers: Sequence[APIRouter], request: Request, _: Exception) -> Response:
    allowed = {
        method
        for route in [*request.app.routes, *(route for router in routers for route in router.routes)]
        if route.matches(request.scope)[0] is not Match.NONE
        for method in getattr(route, "methods", None) or ()
    }
    if "GET" in allowed:
        allowed.add("HEAD")
    if allowed:
        return problem_response(
            MethodNotAllowed(f"{request.method} is not allowed on this path.", sorted(allowed))
        )
    return problem_response(NoSuchPath("No resource exists at this path."))
