"""Parameters of the routes that read the feed."""

from typing import Annotated

from fastapi import Header, Query
from pydantic import WithJsonSchema

from application.feed.feed import TYPES, FeedQuery
from application.record.eras import PATTERN, EventId, parse_event_id
from interface.http.core.call import Call
from interface.http.core.paging import single_param
from interface.http.core.problems import Malformed

LONGEST_WAIT_SECONDS = 60
EVENT_ID = {"type": "string", "pattern": f"^{PATTERN}$"}
_LAST_EVENT_ID = "last-event-id"
After = Annotated[
    str | None,
    WithJsonSchema(EVENT_ID | {"default": "0"}),
    Query(description="The id of the last event received; 0 for the beginning."),
]
Wait = Annotated[
    str | None,
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT_SECONDS, "default": 0}),
    Query(description="How many seconds to wait for the next event if there are no events yet."),
]
_TYPE = "|".join(TYPES)
TypesFilter = Annotated[
    str | None,
    WithJsonSchema({"type": "string", "pattern": f"^({_TYPE})(,({_TYPE}))*$"}),
    Query(description="Only events of these types, separated by commas."),
]
LastEventId = Annotated[
    str | None,
    WithJsonSchema(EVENT_ID),
    Header(alias="Last-Event-ID", description="The id of the last event received; overrides `after`."),
]


def after_event(call: Call) -> EventId:
    """Return the event after which to resume. Raises Malformed."""
    try:
        return parse_event_id(single_param(call, "after", "0"))
    except ValueError:
        raise Malformed(
            "after must be an event id: an integer from 0, followed by its era if it has one."
        ) from None


def resume_after(call: Call, after: EventId) -> EventId:
    """Return the event after which the stream resumes: Last-Event-ID, or `after`. Raises Malformed."""
    given = call.headers.getlist(_LAST_EVENT_ID)
    if not given:
        return after
    try:
        [text] = given
        return parse_event_id(text)
    except ValueError:
        raise Malformed("Last-Event-ID must be the id of an event, given once.") from None


def feed_query(call: Call, client_ext_id: str, after: EventId) -> FeedQuery:
    """Return the requested part of the client's feed. Raises Malformed."""
    types = single_param(call, "types", "")
    if "types" not in call.query:
        return FeedQuery(client_ext_id, after.position, era=after.era)
    if unknown := sorted(set(types.split(",")) - set(TYPES)):
        raise Malformed(f"types: unknown event type {unknown[0]!r}; expected one of {', '.join(TYPES)}")
    return FeedQuery(client_ext_id, after.position, frozenset(types.split(",")), after.era)
