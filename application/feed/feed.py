"""The feed: every event of a client as a CloudEvent, by position, for those who follow from outside."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any, NamedTuple, NotRequired
from urllib.parse import quote

from pydantic import Field
from typing_extensions import TypedDict

from application.record.eras import NO_ERAS, Eras, EventId
from application.record.ledger import Ledger, LedgerEntry
from application.record.streams import EVENTS
from application.shared.errors import PositionNotFound
from application.shared.wire import UtcDate, to_json, utc_date
from domain.shared.event import Event
from domain.tickets.states import State

PAGE = 1000
TYPES = tuple(sorted(EVENTS))
# Wide enough for every position, so that the texts sort as the numbers do.
_SEQUENCE_DIGITS = 19
_AS_THEY_ARE = (str, int, type(None))


class EventData(TypedDict):
    """What happened, to what, by whom and why; no hash, no ticket and no personal data."""

    userExtId: Annotated[str | None, Field(description="The user whom it is about.")]
    version: Annotated[int, Field(description="The version after it: of the ticket, where it is one's.")]
    actor: str
    reason: str | None
    changed: Annotated[
        dict[str, Any], Field(description="What it says beside that, in the names of the ticket's response.")
    ]


class CloudEvent(TypedDict):
    """An event as CloudEvents 1.0 has it; `id` is its position in the client's ledger: 1, 2, 3 … without a gap."""

    specversion: Annotated[str, Field(examples=["1.0"])]
    id: Annotated[
        str,
        Field(
            description="The position, in decimal; where the store was ever restored from a backup, with the era behind it.",
            examples=["42"],
        ),
    ]
    source: Annotated[
        str, Field(description="The origin of the client's ledger.", examples=["tickets/client-123"])
    ]
    type: Annotated[str, Field(description="What happened.", examples=["TicketRegenerated"])]
    time: UtcDate
    datacontenttype: str
    sequence: Annotated[
        str, Field(description="The position in 19 digits, so that it sorts as text.", pattern="^[0-9]{19}$")
    ]
    traceparent: NotRequired[Annotated[str, Field(description="Of the request that it comes from.")]]
    subject: NotRequired[Annotated[str, Field(description="The user whom it is about.")]]
    data: EventData
    previous: Annotated[
        str,
        Field(
            description="The id of the event before it in this feed, as it is filtered; 0: it is the first."
        ),
    ]


@dataclass(frozen=True)
class FeedQuery:
    """What of a client's feed: the events after a position; of these types, None: of all.

    era: of the event at that position, as somebody saw it who has it from elsewhere; None: it is the store's own.
    """

    client_ext_id: str
    after: int = 0
    types: frozenset[str] | None = None
    era: str | None = None

    def wants(self, topic: str) -> bool:
        """Tell whether events of this type are asked for."""
        return self.types is None or topic in self.types


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """An event, made ready once for everybody who follows.

    user_ext_id: empty where it is not about one user. head: its CloudEvent as JSON, but for the end, since
    `previous` differs by what is filtered.
    """

    position: int
    type: str
    user_ext_id: str
    head: bytes
    eras: Eras = NO_ERAS

    @property
    def id(self) -> EventId:
        """Which event it is, for good."""
        return self.eras.at(self.position)

    def to_json(self, previous: int) -> bytes:
        """Return the whole CloudEvent."""
        return b'%s,"previous":"%s"}' % (self.head, str(self.eras.at(previous)).encode())


class Batch(NamedTuple):
    """Events that follow each other in a feed.

    before: the position of the one before them. seen: up to where nothing else was to be found.
    """

    before: int
    events: Sequence[FeedEvent]
    seen: int


def read_feed(query: FeedQuery, limit: int, *, ledger: Ledger, origin: str) -> Sequence[FeedEvent]:
    """Return the next events by position. Raises StoreUnavailable.

    origin: of the service's ledgers, that each client's begins with.
    """
    if query.types is None:
        entries = ledger.entries(query.client_ext_id, query.after, limit)
    else:
        entries = ledger.entries_of_topics(query.client_ext_id, sorted(query.types), query.after, limit)
    source = f"{origin}/{quote(query.client_ext_id, safe='')}"
    eras = ledger.eras(query.client_ext_id) if entries else NO_ERAS
    return [_feed_event(entry, ledger.event(entry), source, eras) for entry in entries]


def position_before(query: FeedQuery, *, ledger: Ledger) -> int:
    """Return the position of the newest event, up to where the query begins, that it would have found.

    Raises PositionNotFound where the ledger does not reach that far, StoreUnavailable.
    """
    size = ledger.size(query.client_ext_id)
    if query.after > size:
        raise PositionNotFound(
            f"The ledger of the client ends at position {size}. If you were further once, it was put back: ask its operator."
        )
    if query.era is not None:
        check_in_ledger(EventId(query.after, query.era), ledger.eras(query.client_ext_id))
    if query.types is None:
        return query.after
    return ledger.newest_of_topics(query.client_ext_id, sorted(query.types), query.after)


def check_in_ledger(seen: EventId, eras: Eras) -> None:
    """Raise PositionNotFound where another event stands at the position of this one by now."""
    if not eras.holds(seen):
        end = eras.end_of(seen.era)
        upto = "" if end is None else f" What you saw up to position {end} holds."
        raise PositionNotFound(
            f"Event {seen} is not in the ledger of the client any more: the ledger was put back.{upto} Ask its operator."
        )


def joined(query: FeedQuery, batch: Batch) -> list[bytes]:
    """Return the events of a batch as JSON, each with the position of the one before it.

    In the whole feed that is one less by definition, so that one that is lost in the store is missed.
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
    said = vars(event)
    return {name: _shown(said[field]) for field, name in _names_of(event.__class__)}


@cache
def _names_of(kind: Any) -> Sequence[tuple[str, str]]:
    known = {field.name for field in fields(kind)}
    return [(field, name) for field, name in NAMES.items() if field in known]


def _shown(value: Any) -> Any:
    if isinstance(value, _AS_THEY_ARE):
        return value
    if isinstance(value, datetime):
        return utc_date(value)
    return {_camel_case(name): part for name, part in vars(value).items()} if is_dataclass(value) else value


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)


# What an event changes without a field of its own saying so (domain/tickets/ticket_credential.py).
_IMPLIED = {"TicketRegenerated": {"stateName": State.ACTIVE}, "TicketVerified": {"stateName": State.ACTIVE}}
# Fields of events by the names of the responses. A field that is not here, a hash above all, is never announced.
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
