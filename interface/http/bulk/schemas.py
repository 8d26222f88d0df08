"""Request bodies and parameters of the routes of bulk jobs."""

from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import BeforeValidator, Field, TypeAdapter, WithJsonSchema, model_validator

from application.bulk.job_response import PENDING, REFUSED
from application.shared.fields import Comment, Date, ExtId, integral
from domain.bulk.bulk_job import MAX_USERS, RESET
from domain.tickets.states import State
from interface.http.core.path import ID_SCHEMA
from interface.http.core.schemas import StrictBody

# Of the ids of MAX_USERS users with 40 characters each; below the limit of a request (core/bounded_protocol.py).
BODY_LIMIT_BYTES = 4 * 1024 * 1024 - 128 * 1024
MAX_PACE = 10_000

JobId = Annotated[str, Path(description="Id of the bulk job.", json_schema_extra=ID_SCHEMA)]
Outcome = Literal["pending", "reset", "refused"]
OutcomeFilter = Annotated[
    str | None,
    WithJsonSchema({"type": "string", "enum": [PENDING, RESET, REFUSED]}),
    Query(description="Only the items with this outcome."),
]
_Pace = Annotated[int, Field(ge=1, le=MAX_PACE, strict=True), BeforeValidator(integral)]
_Count = Annotated[int, Field(ge=0, le=MAX_USERS, strict=True), BeforeValidator(integral)]
_FILES_ONLY = "Of a body in CSV or NDJSON; JSON has a field of this name."
PaceParam = Annotated[
    str | None,
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_PACE}),
    Query(description=f"Maximum of resets per second. {_FILES_ONLY}"),
]
ExpectedCountParam = Annotated[
    str | None,
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_USERS}),
    Query(description=f"The expected number of users. {_FILES_ONLY}"),
]
DryRunParam = Annotated[
    str | None,
    WithJsonSchema({"type": "boolean", "default": False}),
    Query(description=f"Report the result that the job would have, and start nothing. {_FILES_ONLY}"),
]
CommentParam = Annotated[
    str | None,
    WithJsonSchema(TypeAdapter(Comment).json_schema()),
    Query(description=f"The comment of each reset. {_FILES_ONLY}"),
]


class BulkFilter(StrictBody):
    """Filters of the search for tickets; the users of the tickets that match all of them."""

    stateName: Annotated[State | None, Field(description="The state now.")] = None
    policyExtId: ExtId | None = None
    expiresBefore: Date | None = None
    lastModifiedAfter: Date | None = None


class BulkOptions(StrictBody):
    """The options of a bulk job."""

    modificationComment: Annotated[Comment | None, Field(description="The comment of each reset.")] = None
    pace: Annotated[_Pace | None, Field(description="Maximum of resets per second; null: no maximum.")] = None
    dryRun: Annotated[
        bool, Field(description="Report the result that the job would have, and start nothing.")
    ] = False
    expectedCount: Annotated[
        _Count | None,
        Field(description="The expected number of users; with another number, nothing happens: 409."),
    ] = None


class BulkBody(BulkOptions):
    """A bulk job: its users, by ids or by a filter, and its options."""

    userExtIds: Annotated[
        list[ExtId] | None,
        Field(min_length=1, max_length=MAX_USERS, description="The users; a repeated id counts once."),
    ] = None
    filter: BulkFilter | None = None

    @model_validator(mode="after")
    def _names_users(self) -> "BulkBody":
        if (self.userExtIds is None) == (self.filter is None):
            raise ValueError("give either userExtIds or filter")
        return self
