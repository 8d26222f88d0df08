"""The real server with additional routes for comparison and a count of its commits.

The no-op is a reset without its work; the textbook way is that of a tutorial.
"""

import logging
import os
from typing import Annotated

from fastapi import APIRouter, FastAPI
from starlette.responses import Response

from application.transaction.command import Answer
from application.transaction.records import Changes
from interface import main
from interface.composition import server
from interface.composition.http_app import http_app
from interface.composition.service import start
from interface.http.core.call import Call
from interface.http.core.call_route import CallRoute, depends
from interface.http.core.permissions import CREDENTIAL_MODIFY, CREDENTIAL_VIEW
from interface.http.core.responses import json_response
from interface.http.core.room import Room
from interface.outbound.sql import sqlite_store
from interface.settings import read_settings
from tests.bench import textbook
from tests.bench.bare import BODY
from tests.support.commits import around_commits


def no_op_router() -> APIRouter:
    """Return the route that does everything that a reset does, except its work."""
    routes = APIRouter(route_class=CallRoute)
    answer = Answer(outcome="changed", body=BODY, correlation_id="", request_digest="", version=1)

    @routes.post("/no-op/{clientExtId:segment}/users/{userExtId:segment}")
    async def no_op(call: Annotated[Call, depends(CREDENTIAL_MODIFY, CREDENTIAL_VIEW)]) -> Response:  # noqa: ARG001
        return json_response(answer)

    return routes


def worker_app() -> FastAPI:
    """Return the app of one server process, as interface.composition.server makes it, with the routes of the bench."""
    logging.basicConfig(level=logging.WARNING)
    settings = read_settings()
    if "TICKETS_TEST_WITHOUT_LEDGER" in os.environ:
        # The cost of the ledger is measured against a store without ledger (PostgreSQL: tests.bench.audit).
        sqlite_store._ledger_rows = lambda *_: []
    running = start(settings)
    counts = {"commits": 0, "events": 0}

    def count(changes: Changes) -> None:
        counts["commits"] += 1
        counts["events"] += len(changes.events)

    around_commits(running.store, after=count)
    textbook_router = textbook.router(textbook.open_textbook(settings.database_url))
    app = http_app(running, Room([no_op_router(), textbook_router]))

    @app.get("/counts")
    async def get_counts() -> dict[str, int]:
        return counts

    return app


if __name__ == "__main__":
    server.WORKER_APP = f"{__spec__.name}:worker_app"
    main.main()
