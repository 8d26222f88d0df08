"""Request bodies of the ticket routes."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BeforeValidator, Field, SecretStr, TypeAdapter, WithJsonSchema

from application.shared.fields import Comment, ExtId
from domain.tickets.states import State
from interface.http.core.call import Call
from interface.http.core.paging import POSITIVE, numbered, query_value
from interface.http.core.schemas import Date, StrictBody, integral


class ResetBody(StrictBody):
    """The body of a reset."""

    modificationComment: Comment | None = None


class ValidityBody(StrictBody):
    """The validity period; omitted dates are set by the policy."""

    from_: Annotated[Date | None, Field(alias="from")] = None
    to: Date | None = None


class CreateBody(StrictBody):
    """The body of a creation; omitted fields are set by the service or the policy."""

    extId: ExtId | None = None
    policyExtId: ExtId | None = None
    stateName: Literal["active", "disabled", "archived"] = "active"
    modificationComment: Comment | None = None
    validity: ValidityBody | None = None


class PatchBody(StrictBody):
    """The fields to change; omitted fields and nulls are kept."""

    stateName: Literal["active", "disabled", "archived"] | None = None
    modificationComment: Comment | None = None
    version: Annotated[int, Field(ge=0, le=2**31 - 1, strict=True), BeforeValidator(integral)] | None = None
    policyExtId: ExtId | None = None
    validity: ValidityBody | None = None


class VerifyBody(StrictBody):
    """The ticket to verify."""

    ticket: Annotated[SecretStr, Field(min_length=1, max_length=1000)]


StateName = Annotated[
    str | None, WithJsonSchema({"type": "string", "enum": list(State)}), Query(description="The state now.")
]
PolicyFilter = Annotated[
    str | None,
    WithJsonSchema(TypeAdapter(ExtId).json_schema()),
    Query(description="The policy of the ticket."),
]
At = Annotated[
    str | None,
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Query(
        description="Show the ticket as of this date and time, with its offset (RFC 3339); 404 in the future."
    ),
]
AtVersion = Annotated[
    str | None,
    POSITIVE,
    Query(description="Show the ticket as of this version."),
]


def past(call: Call) -> tuple[datetime | None, int | None]:
    """Return the requested time or version of a ticket. Raises Malformed."""
    return query_value(call, "at", Date), numbered(call, "atVersion")
