"""An event of the feed: the public fields of an entry of the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any

from msgspec import UNSET, Struct, field
from pydantic.alias_generators import to_camel

from application.record.eras import NO_ERAS, Eras, EventId
from application.record.ledger import LedgerEntry
from application.record.objects import EventObject
from application.shared.wire import to_camel_case, utc_date
from domain.shared.event import Event
from domain.tickets.states import State

_PLAIN_TYPES = (str, int, type(None))


class FeedEvent(Struct, frozen=True, kw_only=True, gc=False):
    """An event; contains no hash, no ticket and no personal data.

    source: the origin of the client's ledger. schema: the URL of the JSON Schema of its data; empty: not named.
    user_ext_id: empty if the event does not concern a single user. version: of the object after the event. traceparent: of
    the request; empty: none. changed: the other fields, named as in the ticket response, with values for JSON. encoded: the
    event by the media type of a format, so that it is encoded once for all readers.
    """

    position: int
    source: str
    type: str
    time: datetime
    user_ext_id: str
    version: int
    actor: str
    reason: str | None
    reason_erased: bool = False
    traceparent: str
    changed: Mapping[str, Any]
    object: EventObject
    schema: str = ""
    eras: Eras = NO_ERAS
    encoded: dict[str, bytes] = field(default_factory=dict)

    @property
    def id(self) -> EventId:
        """The permanent id of the event."""
        return self.eras.at(self.position)


def schema_path(topic: str) -> str:
    """Return the path at which the service serves the JSON Schema of the data of a type."""
    return f"/schemas/events/{topic}.json"


def to_feed_event(
    entry: LedgerEntry, event: Event, changed: EventObject, source: str, public_url: str, eras: Eras
) -> FeedEvent:
    """Return the public fields of an entry, its event and its object."""
    return FeedEvent(
        position=entry.position,
        source=source,
        type=entry.topic,
        time=event.timestamp,
        user_ext_id=entry.user_ext_id,
        version=entry.version,
        actor=event.actor,
        reason=event.reason,
        reason_erased=event.reason_erased,
        traceparent=event.correlation_id,
        changed=_published_values(event, entry.topic),
        object=changed,
        schema=f"{public_url}{schema_path(entry.topic)}" if public_url else "",
        eras=eras,
    )


def _published_values(event: Any, topic: str) -> dict[str, Any]:
    values, published = vars(event), dict[str, Any]()
    for field_name, name in _published_fields(event.__class__):
        # An event of a release without a field has no such value.
        value = values.get(field_name, UNSET)
        if value is not UNSET:
            published[name] = value if isinstance(value, _PLAIN_TYPES) else _to_plain(value)
    if changed := published.get("fields"):
        published["fields"] = [to_camel(name) for name in changed]
    if implied := IMPLIED.get(topic):
        published |= implied
    return published


@cache
def _published_fields(kind: Any) -> Sequence[tuple[str, str]]:
    known = {field.name for field in fields(kind)}
    return [(field, name) for field, name in PUBLISHED_NAMES.items() if field in known]


def _to_plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return utc_date(value)
    return to_camel_case(value) if is_dataclass(value) else value


# Changes that an event implies without a field (domain/tickets/evolution.py).
IMPLIED = {"TicketRegenerated": {"stateName": State.ACTIVE}, "TicketVerified": {"stateName": State.ACTIVE}}
# The published fields of events, by their response names. Other fields, such as hashes, are never published.
PUBLISHED_NAMES = {
    "ext_id": "extId",
    "policy_ext_id": "policyExtId",
    "state_name": "stateName",
    "state_change_reason": "stateChangeReason",
    "created": "created",
    "last_successful_login_date": "lastSuccessfulLoginDate",
    "successful_login_count": "successfulLoginCount",
    "last_failed_login_date": "lastFailedLoginDate",
    "failed_login_count": "failedLoginCount",
    "locked_until": "lockedUntil",
    "valid_from": "validity.from",
    "valid_to": "validity.to",
    "reset_count": "resetCount",
    "failure_count": "failureCount",
    "success_count": "successCount",
    "source": "source",
    "source_version": "sourceVersion",
    "history_digest": "historyDigest",
    "is_default": "defaultPolicy",
    "parameters": "parameters",
    "operation": "operation",
    "outcome": "outcome",
    "count": "count",
    "filters": "filters",
    "users": "users",
    "changed": "fields",
    "name": "name",
    "terms": "terms",
    "status": "status",
    "position": "position",
    "ticket_version": "ticketVersion",
    "delivery": "delivery",
    "why": "why",
    "figures": "figures",
    "number": "number",
    "era": "era",
    "began": "began",
    "cuts": "cuts",
    "seconds": "seconds",
    "job": "job",
    "user_count": "userCount",
    "users_digest": "usersDigest",
    "pace": "pace",
    "overrides_limit": "overridesLimit",
    "outcomes": "outcomes",
}
