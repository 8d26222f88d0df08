"""CloudEvents 1.0 in JSON: the default format, and the format of webhooks, streams and brokers."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired

from msgspec import UNSET, Struct, UnsetType
from msgspec.json import Encoder
from pydantic import Field
from typing_extensions import TypedDict

from application.feed.feed_event import FeedEvent
from application.feed.formats.format import Format
from application.record.history import ReasonErased
from application.record.objects import Kind, ObjectId, TicketExtId
from application.shared.wire import utc_instant

# Wide enough for every position, so that the text sorts numerically.
_SEQUENCE_DIGITS = 19
encode = Encoder().encode


class EventData(TypedDict):
    """The data of an event; contains no hash, no ticket and no personal data."""

    userExtId: Annotated[str | None, Field(description="The user concerned.")]
    version: Annotated[int, Field(description="Version of the `aggregate` after the event.")]
    aggregate: Kind
    aggregateId: ObjectId
    ticketExtId: TicketExtId
    actor: Annotated[str, Field(description="The `sub` of the caller, or the job of the service.")]
    reason: Annotated[
        str | None, Field(description="The comment of the caller; null: none, or it was erased.")
    ]
    reasonErased: NotRequired[ReasonErased]
    changed: Annotated[
        dict[str, Any], Field(description="Other fields of the event, named as in the ticket response.")
    ]


class CloudEvent(TypedDict):
    """An event in the format of CloudEvents 1.0; `id` is its position in the client's ledger: 1, 2, 3 … without gaps."""

    specversion: Annotated[str, Field(examples=["1.0"])]
    id: Annotated[
        str,
        Field(
            description="The position in decimal, followed by the era if the store was ever restored from a backup.",
            examples=["42"],
        ),
    ]
    source: Annotated[
        str, Field(description="The origin of the client's ledger.", examples=["tickets/client-123"])
    ]
    type: Annotated[str, Field(description="Type of the event.", examples=["TicketRegenerated"])]
    time: Annotated[
        str,
        Field(
            description="The time of the event, UTC, with microseconds.",
            json_schema_extra={"format": "date-time"},
            examples=["2026-11-23T09:42:00.000000Z"],
        ),
    ]
    datacontenttype: str
    dataschema: NotRequired[
        Annotated[
            str,
            Field(
                description="URL of the JSON Schema of `data`.",
                json_schema_extra={"format": "uri"},
                examples=["https://tickets.example/schemas/events/TicketRegenerated.json"],
            ),
        ]
    ]
    sequence: Annotated[
        str, Field(description="The position in 19 digits, so that it sorts as text.", pattern="^[0-9]{19}$")
    ]
    traceparent: NotRequired[Annotated[str, Field(description="The traceparent of the request.")]]
    subject: NotRequired[Annotated[str, Field(description="The user concerned.")]]
    data: EventData
    previous: Annotated[
        str,
        Field(description="The id of the preceding event in the filtered feed; 0: none."),
    ]


class _Data(Struct, gc=False):
    """EventData, which msgspec encodes twice as fast as a dictionary."""

    userExtId: str | None
    version: int
    aggregate: str | None
    aggregateId: str | None
    ticketExtId: str | None
    actor: str
    reason: str | None
    changed: Mapping[str, Any]
    reasonErased: bool | UnsetType


class _Attributes(Struct, gc=False):
    """CloudEvent without `previous`."""

    specversion: str
    id: str
    source: str
    type: str
    time: str
    datacontenttype: str
    sequence: str
    dataschema: str | UnsetType
    traceparent: str | UnsetType
    subject: str | UnsetType
    data: _Data


def _encode(event: FeedEvent) -> bytes:
    """Return the event without its last member, `previous`, and the closing brace."""
    user = event.user_ext_id
    data = _Data(
        user or None,
        event.version,
        *event.object,
        event.actor,
        event.reason,
        event.changed,
        True if event.reason_erased else UNSET,
    )
    attributes = _Attributes(
        "1.0",
        event.eras.text_at(event.position),
        event.source,
        event.type,
        utc_instant(event.time),
        "application/json",
        f"{event.position:0{_SEQUENCE_DIGITS}}",
        event.schema or UNSET,
        event.traceparent or UNSET,
        user or UNSET,
        data,
    )
    return encode(attributes)[:-1]


def _complete(encoded: bytes, previous: str) -> bytes:
    return b'%s,"previous":"%s"}' % (encoded, previous.encode())


def _join(events: Sequence[bytes]) -> bytes:
    return b"[%s]" % b",".join(events)


CLOUD_EVENTS = Format(
    media_type="application/cloudevents-batch+json",
    event_media_type="application/cloudevents+json",
    encode=_encode,
    complete=_complete,
    join=_join,
    item=CloudEvent,
)
