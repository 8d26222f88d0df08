"""What callers send about tickets."""

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
    """What may be said with a reset."""

    modificationComment: Comment | None = None


class ValidityBody(StrictBody):
    """From when until when; what is left out is decided by the policy."""

    from_: Annotated[Date | None, Field(alias="from")] = None
    to: Date | None = None


class CreateBody(StrictBody):
    """A first ticket; what is left out is decided by the service or the policy."""

    extId: ExtId | None = None
    policyExtId: ExtId | None = None
    stateName: Literal["active", "disabled", "archived"] = "active"
    modificationComment: Comment | None = None
    validity: ValidityBody | None = None


class PatchBody(StrictBody):
    """What to change; what is left out, or null, stays."""

    stateName: Literal["active", "disabled", "archived"] | None = None
    modificationComment: Comment | None = None
    version: Annotated[int, Field(ge=0, le=2**31 - 1, strict=True), BeforeValidator(integral)] | None = None
    policyExtId: ExtId | None = None
    validity: ValidityBody | None = None


class VerifyBody(StrictBody):
    """The ticket that somebody presents."""

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
        description="The moment, with its offset (RFC 3339), at which the ticket is shown; 404 in the future."
    ),
]
AtVersion = Annotated[
    str | None,
    POSITIVE,
    Query(description="The version after whose event the ticket is shown."),
]


def past(call: Call) -> tuple[datetime | None, int | None]:
    """Return at which moment, or after which version, a ticket shall be shown. Raises Malformed."""
    return query_value(call, "at", Date), numbered(call, "atVersion")
