"""The HTTP application: routes, errors and documents put together."""

from importlib.metadata import version
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Match
from starlette.staticfiles import StaticFiles
from starlette.types import Lifespan

from application.errors import Unavailable
from domain.errors import Refusal
from interface.http import asyncapi, openapi
from interface.http.call import Service, note
from interface.http.envelope import Envelope
from interface.http.problems import (
    PROBLEMS,
    BodyTooLarge,
    HttpError,
    MethodNotAllowed,
    NoSuchPath,
    problem_response,
)
from interface.http.routes import (
    audit,
    deliveries,
    feed,
    policies,
    security_events,
    subscriptions,
    tickets,
    users,
)

_ROUTERS = (
    tickets.router,
    deliveries.router,
    users.router,
    policies.router,
    audit.router,
    feed.router,
    subscriptions.router,
    security_events.router,
    security_events.well_known,
)
# Refusals that the client's access log keeps.
_NOTED = {403, 409, 412, 422, 429}


def create_app(service: Service, lifespan: Lifespan[FastAPI]) -> FastAPI:
    """Return the ASGI application over the service."""
    app = FastAPI(
        title="Ticket credentials",
        version=version("ticket-credential-service"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        middleware=[Middleware(Envelope)],
    )
    app.state.service = service
    app.add_route("/asyncapi.json", lambda request: JSONResponse(asyncapi.document(request.app)))
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    for kind in (HttpError, Refusal, Unavailable):
        app.add_exception_handler(kind, _problem)
    app.add_exception_handler(HTTPException, _no_route)
    for router in _ROUTERS:
        app.include_router(router)
    _add_docs(app)
    return app


def _add_docs(app: FastAPI) -> None:
    assets = Path(fastapi_offline.__file__).with_name("static")
    app.mount("/docs/assets", StaticFiles(directory=assets), name="docs-assets")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url="/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/docs/assets/swagger-ui.css",
            swagger_favicon_url="/docs/assets/favicon.png",
        )


async def _problem(request: Request, error: Exception) -> Response:
    if isinstance(error, BodyTooLarge):
        raise error  # the envelope reads on before it answers
    kind = PROBLEMS[type(error)]
    if kind.status in _NOTED:
        try:
            await note(request, kind.code)
        except Unavailable as unavailable:
            return problem_response(unavailable)
    return problem_response(error)


async def _no_route(request: Request, _: Exception) -> Response:
    allowed = {
        method
        for route in [*request.app.routes, *(route for router in _ROUTERS for route in router.routes)]
        if route.matches(request.scope)[0] is not Match.NONE
        for method in getattr(route, "methods", None) or ()
    }
    if allowed:
        return problem_response(MethodNotAllowed(f"{request.method} is not possible here.", sorted(allowed)))
    return problem_response(NoSuchPath("Nothing is served under this path."))
