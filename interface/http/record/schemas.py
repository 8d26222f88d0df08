"""Parameters of the routes that read the record."""

import re
from typing import Annotated

from fastapi import Query
from pydantic import WithJsonSchema

from application.record.checkpoint import parse_checkpoint_text
from application.record.streams import EVENTS
from interface.http.core.call import Call
from interface.http.core.paging import MOST, POSITIVE, integer_param, single_param
from interface.http.core.problems import Malformed

_LONGEST = 255
_CORRELATION = r"^(?:[0-9a-f]{2}-)?([0-9a-f]{32})(?:-[0-9a-f]{16}-[0-9a-f]{2})?$"
FromFilter = Annotated[
    str | None,
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Query(alias="from", description="From this date and time on, with its offset (RFC 3339)."),
]
ToFilter = Annotated[
    str | None,
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Query(description="Before this date and time, with its offset (RFC 3339); not before `from`."),
]
_TEXT = WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[^\x00]+$"})
ActorFilter = Annotated[str | None, _TEXT, Query(description="The actor.")]
UserFilter = Annotated[str | None, _TEXT, Query(description="The user concerned.")]
TypeFilter = Annotated[
    str | None,
    WithJsonSchema({"type": "string", "enum": sorted(EVENTS)}),
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
OlderCheckpoint = Annotated[
    str | None,
    WithJsonSchema({"type": "string", "maxLength": 4096}),
    Query(description="That checkpoint instead of its size: the text of the signed note."),
]

PolicyScope = Annotated[str | None, _TEXT, Query(description="Only the events of this policy.")]
SubscriptionScope = Annotated[
    str | None, _TEXT, Query(description="Only the events of the subscription of this name.")
]
StreamScope = Annotated[
    str | None,
    WithJsonSchema({"type": "string", "format": "uuid"}),
    Query(description="Only the events of this stream."),
]
First = Annotated[str | None, POSITIVE, Query(description="Only the entries from this position on.")]
Last = Annotated[
    str | None, POSITIVE, Query(description="Only the entries up to this position; not before `first`.")
]


def older_size(call: Call) -> int | None:
    """Return the size of the older checkpoint of `checkpoint` or `since`, None without either. Raises Malformed."""
    text, since = single_param(call, "checkpoint", ""), integer_param(call, "since")
    if "checkpoint" not in call.query:
        return since
    if since is not None:
        raise Malformed("checkpoint and since exclude each other.")
    try:
        client, size, _ = parse_checkpoint_text(text)
    except ValueError:
        raise Malformed("checkpoint must be the text of a signed checkpoint.") from None
    if size > MOST:
        raise Malformed("checkpoint must be the text of a signed checkpoint.")
    if client != call.subject.client_ext_id:
        raise Malformed("checkpoint is of another client.")
    return size


def text_of(call: Call, name: str) -> str | None:
    """Return a text parameter, None where that is absent. Raises Malformed."""
    text = single_param(call, name, "")
    if name not in call.query:
        return None
    if not text or "\x00" in text or len(text) > _LONGEST:
        raise Malformed(f"{name} must have 1 to {_LONGEST} characters.")
    return text


def event_type(call: Call) -> str | None:
    """Return the topic of `type`, None where that is absent. Raises Malformed."""
    topic = single_param(call, "type", "")
    if "type" not in call.query:
        return None
    if topic not in EVENTS:
        raise Malformed(f"type: unknown event type {topic!r}; expected one of {', '.join(sorted(EVENTS))}")
    return topic


def trace_id(call: Call) -> str | None:
    """Return the trace id of `correlationId`, None where that is absent. Raises Malformed."""
    text = single_param(call, "correlationId", "")
    if "correlationId" not in call.query:
        return None
    found = re.fullmatch(_CORRELATION, text)
    if not found:
        raise Malformed("correlationId must be a traceparent, or its trace id of 32 hexadecimal digits.")
    return found[1]
