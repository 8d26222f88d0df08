"""The feed: the events of a client as CloudEvents, by position."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any, NamedTuple, NotRequired
from urllib.parse import quote

from pydantic import Field
from typing_extensions import TypedDict

from application.record.eras import NO_ERAS, Eras, EventId, PositionNotFound
from application.record.ledger import Ledger, LedgerEntry
from application.record.streams import EVENTS
from application.shared.wire import UtcDate, to_json, utc_date
from domain.shared.event import Event
from domain.tickets.states import State

PAGE = 1000
TYPES = tuple(sorted(EVENTS))
# Wide enough for every position, so that the text sorts numerically.
_SEQUENCE_DIGITS = 19
_PLAIN_TYPES = (str, int, type(None))


class EventData(TypedDict):
    """The data of an event; contains no hash, no ticket and no personal data."""

    userExtId: Annotated[str | None, Field(description="The user concerned.")]
    version: Annotated[
        int, Field(description="Version of the ticket, or of another stream, after the event.")
    ]
    actor: str
    reason: str | None
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
    time: UtcDate
    datacontenttype: str
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


@dataclass(frozen=True)
class FeedQuery:
    """A query on a client's feed: the events after a position, of these types (None: all).

    era: the era of the event at `after` as known to the subscriber; None: not checked.
    """

    client_ext_id: str
    after: int = 0
    types: frozenset[str] | None = None
    era: str | None = None

    def includes(self, topic: str) -> bool:
        """Return whether the query includes events of this type."""
        return self.types is None or topic in self.types


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """An event, encoded once for all followers.

    user_ext_id: empty if the event does not concern a single user. head: the CloudEvent as JSON without its last member
    `previous`, which depends on the filter.
    """

    position: int
    type: str
    user_ext_id: str
    head: bytes
    eras: Eras = NO_ERAS

    @property
    def id(self) -> EventId:
        """The permanent id of the event."""
        return self.eras.at(self.position)

    def to_json(self, previous: int) -> bytes:
        """Return the complete CloudEvent."""
        return b'%s,"previous":"%s"}' % (self.head, str(self.eras.at(previous)).encode())


class Batch(NamedTuple):
    """Consecutive events of a feed.

    before: the position of the preceding event. seen: the position up to which the feed was searched.
    """

    before: int
    events: Sequence[FeedEvent]
    seen: int


def read_feed(query: FeedQuery, limit: int, *, ledger: Ledger, origin: str) -> Sequence[FeedEvent]:
    """Return the next events by position. origin: the prefix of the origin of each ledger. Raises StoreUnavailable."""
    if query.types is None:
        entries = ledger.entries(query.client_ext_id, query.after, limit)
    else:
        entries = ledger.entries_of_topics(query.client_ext_id, sorted(query.types), query.after, limit)
    source = f"{origin}/{quote(query.client_ext_id, safe='')}"
    eras = ledger.eras(query.client_ext_id) if entries else NO_ERAS
    return [_feed_event(entry, ledger.event(entry), source, eras) for entry in entries]


def position_before(query: FeedQuery, *, ledger: Ledger) -> int:
    """Return the position of the newest matching event up to `after`; 0: none.

    Raises PositionNotFound if `after` or its era is not in the ledger, StoreUnavailable.
    """
    size = ledger.size(query.client_ext_id)
    if query.after > size:
        raise PositionNotFound(
            f"The ledger of the client ends at position {size}. If you have later events, it was restored: ask its operator."
        )
    if query.era is not None:
        check_in_ledger(EventId(query.after, query.era), ledger.eras(query.client_ext_id))
    if query.types is None:
        return query.after
    return ledger.newest_of_topics(query.client_ext_id, sorted(query.types), query.after)


def check_in_ledger(seen: EventId, eras: Eras) -> None:
    """Raise PositionNotFound if another event has taken the position of this one."""
    if not eras.holds(seen):
        end = eras.end_of(seen.era)
        valid = "" if end is None else f" Your events up to position {end} are valid."
        raise PositionNotFound(
            f"Event {seen} is no longer in the ledger of the client: the ledger was restored.{valid} Ask its operator."
        )


def joined(query: FeedQuery, batch: Batch) -> list[bytes]:
    """Return the events of a batch as JSON, each with the id of the preceding event.

    In an unfiltered feed that is the preceding position, so that a subscriber detects a gap in the store.
    """
    if query.types is None:
        return [event.to_json(event.position - 1) for event in batch.events]
    previous = [batch.before, *(event.position for event in batch.events)]
    return [event.to_json(position) for event, position in zip(batch.events, previous, strict=False)]


def _feed_event(entry: LedgerEntry, event: Event, source: str, eras: Eras) -> FeedEvent:
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(eras.at(entry.position)),
        "source": source,
        "type": entry.topic,
        "time": utc_date(event.timestamp),
        "datacontenttype": "application/json",
        "sequence": f"{entry.position:0{_SEQUENCE_DIGITS}}",
    }
    if event.correlation_id:
        attributes["traceparent"] = event.correlation_id
    if entry.user_ext_id:
        attributes["subject"] = entry.user_ext_id
    attributes["data"] = {
        "userExtId": entry.user_ext_id or None,
        "version": entry.version,
        "actor": event.actor,
        "reason": event.reason,
        "changed": _changed(event) | _IMPLIED.get(entry.topic, {}),
    }
    head = to_json(attributes)[:-1].encode()
    return FeedEvent(entry.position, entry.topic, entry.user_ext_id, head, eras)


def _changed(event: Any) -> dict[str, Any]:
    values = vars(event)
    return {name: _shown(values[field]) for field, name in _names_of(event.__class__)}


@cache
def _names_of(kind: Any) -> Sequence[tuple[str, str]]:
    known = {field.name for field in fields(kind)}
    return [(field, name) for field, name in NAMES.items() if field in known]


def _shown(value: Any) -> Any:
    if isinstance(value, _PLAIN_TYPES):
        return value
    if isinstance(value, datetime):
        return utc_date(value)
    return {_camel_case(name): part for name, part in vars(value).items()} if is_dataclass(value) else value


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)


# Changes that an event implies without a field (domain/tickets/state.py).
_IMPLIED = {"TicketRegenerated": {"stateName": State.ACTIVE}, "TicketVerified": {"stateName": State.ACTIVE}}
# The published fields of events, by their response names. Other fields, such as hashes, are never published.
NAMES = {
    "ext_id": "extId",
    "policy_ext_id": "policyExtId",
    "state_name": "stateName",
    "locked_until": "lockedUntil",
    "valid_from": "validity.from",
    "valid_to": "validity.to",
    "reset_count": "resetCount",
    "is_default": "defaultPolicy",
    "parameters": "parameters",
    "operation": "operation",
    "outcome": "outcome",
    "count": "count",
    "name": "name",
    "terms": "terms",
    "status": "status",
    "position": "position",
    "ticket_version": "ticketVersion",
    "delivery": "delivery",
    "why": "why",
}
