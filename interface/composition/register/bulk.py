"""Registers the handlers, tables and routes of bulk jobs."""

from application.bulk.control_job import ControlBulkJob, FinishBulkJob, control_bulk_job, finish_bulk_job
from application.bulk.reset_item import ResetItem, reset_item
from application.bulk.start_reset import StartBulkReset, start_bulk_reset
from interface.composition.register.contexts import Capability, RouteContext
from interface.http.bulk import routes, start
from interface.http.bulk.schemas import BODY_LIMIT_BYTES
from interface.http.core.room import Room
from interface.outbound.sql.bulk_tables import (
    BULK_ITEM_TABLE,
    BULK_JOB_TABLE,
    BULK_OUTCOME_TABLE,
    BULK_USERS_TABLE,
)

# The end of the path of a start.
LARGE_BODIES = "/bulk/resets"


def room(context: RouteContext) -> Room:
    """Return the routes of bulk jobs."""
    limit = context.settings.max_daily_deliveries
    part = routes.BulkPart(store=context.store, max_daily_deliveries=limit)
    return Room([start.router, routes.router], part, {LARGE_BODIES: BODY_LIMIT_BYTES})


CAPABILITY = Capability(
    handlers={
        StartBulkReset: start_bulk_reset,
        ResetItem: reset_item,
        ControlBulkJob: control_bulk_job,
        FinishBulkJob: finish_bulk_job,
    },
    tables=(BULK_JOB_TABLE, BULK_USERS_TABLE, BULK_ITEM_TABLE, BULK_OUTCOME_TABLE),
    room=room,
    permissions=(routes.BULK_MODIFY,),
)
