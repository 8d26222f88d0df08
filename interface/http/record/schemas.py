"""Parameters of the routes that read the record."""

import re
from typing import Annotated

from fastapi import Query
from pydantic import WithJsonSchema

from interface.http.core.call import Call
from interface.http.core.paging import POSITIVE, single_param
from interface.http.core.problems import Malformed

_CORRELATION = r"^(?:[0-9a-f]{2}-)?([0-9a-f]{32})(?:-[0-9a-f]{16}-[0-9a-f]{2})?$"
FromFilter = Annotated[
    str | None,
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Query(alias="from", description="A date and time with its offset (RFC 3339)."),
]
_TEXT = WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[^\x00]+$"})
ActorFilter = Annotated[str | None, _TEXT, Query(description="The actor.")]
UserFilter = Annotated[str | None, _TEXT, Query(description="The user concerned.")]
TypeFilter = Annotated[
    str | None,
    _TEXT,
    Query(description="The event type, such as `TicketRegenerated` or `AccessNoted`."),
]
CorrelationFilter = Annotated[
    str | None,
    WithJsonSchema({"type": "string", "pattern": _CORRELATION}),
    Query(description="The traceparent of the request, or its trace id alone."),
]
Since = Annotated[
    str | None,
    POSITIVE,
    Query(description="The size of an older checkpoint to prove consistency with."),
]


def trace_id(call: Call) -> str | None:
    """Return the trace id of `correlationId`, None where that is absent. Raises Malformed."""
    text = single_param(call, "correlationId", "")
    if "correlationId" not in call.query:
        return None
    found = re.fullmatch(_CORRELATION, text)
    if not found:
        raise Malformed("correlationId must be a traceparent, or its trace id of 32 hexadecimal digits.")
    return found[1]
