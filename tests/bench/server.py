"""The real server with additional routes for comparison and a count of its commits.

The ceiling is a reset without its work; the textbook way is that of a tutorial; the unbatched way
is this service without group commit.
"""

import json
import logging
import os
from typing import Annotated

from fastapi import APIRouter, FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from application.tickets.regenerate_ticket import RegenerateTicket
from application.transaction.command import Answer
from application.transaction.records import Changes
from application.transaction.unit_of_work import UnitOfWork
from interface import main
from interface.composition import server
from interface.composition.http_app import http_app
from interface.composition.service import RunningService, start
from interface.http.core.call import Call
from interface.http.core.call_route import CallRoute, depends
from interface.http.core.permissions import CREDENTIAL_MODIFY, CREDENTIAL_VIEW
from interface.http.core.responses import json_response
from interface.http.core.room import Room
from interface.outbound.sql import sqlite_store
from interface.settings import read_settings
from tests.bench import textbook
from tests.support.commits import around_commits

_BODY = json.dumps(
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


def no_op_router() -> APIRouter:
    """Return the route that does everything that a reset does, except its work."""
    routes = APIRouter(route_class=CallRoute)
    answer = Answer(outcome="changed", body=_BODY, correlation_id="", request_digest="", version=1)

    @routes.post("/no-op/{clientExtId:segment}/users/{userExtId:segment}")
    async def no_op(call: Annotated[Call, depends(CREDENTIAL_MODIFY, CREDENTIAL_VIEW)]) -> Response:  # noqa: ARG001
        return json_response(answer)

    return routes


def unbatched_router(running: RunningService) -> APIRouter:
    """Return the route that decides and stores each reset by itself, in a thread."""
    routes = APIRouter(route_class=CallRoute)

    def reset(command: RegenerateTicket) -> Answer:
        unit = UnitOfWork(running.store.load(command.loads()))
        answer = running.commands._handlers[RegenerateTicket](command, unit)
        running.store.commit(unit.changes)
        return answer

    @routes.post("/unbatched/{clientExtId:segment}/users/{userExtId:segment}")
    async def unbatched(call: Annotated[Call, depends(CREDENTIAL_MODIFY, CREDENTIAL_VIEW)]) -> Response:
        return json_response(await run_in_threadpool(reset, RegenerateTicket(**call.sending_context())))

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
    app = http_app(running, Room([no_op_router(), unbatched_router(running), textbook_router]))

    @app.get("/counts")
    async def get_counts() -> dict[str, int]:
        return counts

    return app


if __name__ == "__main__":
    server.WORKER_APP = f"{__spec__.name}:worker_app"
    main.main()
