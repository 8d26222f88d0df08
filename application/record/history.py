"""The history of a credential, and its past states, by the same `evolve` as the read model."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from functools import cache
from itertools import chain
from typing import Annotated, Any, NotRequired
from uuid import UUID

from msgspec import UNSET
from pydantic import Field
from typing_extensions import TypedDict

from application.record.ledger import HistoryQuery, Ledger, LedgerBroken, LedgerEntry
from application.record.objects import EventObject, Kind, ObjectId, TicketExtId, objects_of
from application.record.past_states import STEP, Fold, PastStates
from application.shared.errors import LaterRelease
from application.shared.ports import Clock
from application.shared.wire import Count, UtcDate, utc_date
from application.tickets.records import TicketNotFound
from domain.shared.event import Event, UnknownEvent
from domain.shared.subject import Subject
from domain.tickets.events import AGGREGATE, stream_id
from domain.tickets.evolution import evolve
from domain.tickets.state import TicketState
from domain.tickets.stored_hash import kind_of

PAGE = 500
LOG_PAGE = 1_000
ERASED = "erased"
"""The text for people in place of an erased comment."""
_FINGERPRINT_DIGITS = 16
_NEWEST = 2**62

ReasonErased = Annotated[bool, Field(description="Present and true if the comment was erased with its user.")]
Change = TypedDict(
    "Change",
    {
        "field": Annotated[str, Field(description="The field of the ticket's response that changed.")],
        "from": Annotated[Any, Field(description="Former value; null if the ticket did not exist.")],
        "to": Annotated[Any, Field(description="New value; null if the ticket was deleted.")],
    },
)
Change.__doc__ = "A field that an event changed; a hash is shown as its algorithm and a fingerprint."


class HistoryItem(TypedDict):
    """An event of a credential and the changes it made."""

    version: Annotated[Count, Field(description="The ticket's version after the event.")]
    position: Annotated[int, Field(description="Position of the event in the client's ledger: 1, 2, 3 …")]
    type: Annotated[str, Field(description="Type of the event.", examples=["TicketRegenerated"])]
    time: UtcDate
    actor: str
    reason: str | None
    reasonErased: NotRequired[ReasonErased]
    correlationId: Annotated[str, Field(description="The traceparent of the request.")]
    changes: list[Change]
    aggregate: Kind
    aggregateId: ObjectId
    ticketExtId: TicketExtId


class LogItem(TypedDict):
    """An entry of a client's ledger, including the access log."""

    position: Annotated[int, Field(description="Position of the event in the client's ledger: 1, 2, 3 …")]
    type: Annotated[str, Field(description="Type of the event.", examples=["TicketRegenerated"])]
    userExtId: Annotated[str | None, Field(description="The user concerned.")]
    version: Annotated[Count, Field(description="The version of the aggregate after the event.")]
    time: UtcDate
    actor: str
    reason: str | None
    reasonErased: NotRequired[ReasonErased]
    correlationId: Annotated[str, Field(description="The traceparent of the request.")]
    details: Annotated[
        dict[str, Any], Field(description="Other fields of the event; hashes as fingerprints.")
    ]
    aggregate: Kind
    aggregateId: ObjectId
    ticketExtId: TicketExtId


def past_ticket(
    subject: Subject,
    *,
    store: Ledger,
    clock: Clock,
    kept: PastStates,
    at: datetime | None = None,
    version: int | None = None,
) -> tuple[TicketState, datetime]:
    """Return the state of the credential at a time or a version, and that time.

    A time without a fraction means the end of its second, since times are shown without fractions. The state at a time
    is that after the newest version whose event is not later, also if the clock was set back in between.
    kept: states of former calls.
    Raises TicketNotFound if it did not exist or the time is in the future; LedgerBroken if a version is missing;
    StoreUnavailable.
    """
    if at:
        at, version = _at_time(subject, at, store, clock, kept)
    last = _NEWEST if version is None else version
    fold = kept.at(subject, last, store)
    steps = deque(_folded(subject, fold, store, kept, last), maxlen=1)
    row = steps[0][-1].state if steps else fold.state
    if row is None or row.deleted or version not in (None, row.version):
        raise TicketNotFound(f"User {subject.user_ext_id!r} had no ticket at this time or version.")
    return row, at or row.last_modified


def _at_time(
    subject: Subject, at: datetime, ledger: Ledger, clock: Clock, kept: PastStates
) -> tuple[datetime, int]:
    """Return the time, limited to the present, and the newest version whose event is not later; 0: none."""
    start = kept.at(subject, _NEWEST, ledger)
    begin, times = (
        start.version,
        [event.timestamp for _, _, event, _ in _folded(subject, start, ledger, kept)],
    )
    # A clock that was ahead has left events in the future, whose times are shown, too.
    newest = max([clock(), start.latest, *times])
    if at > newest:
        raise TicketNotFound("The requested time is in the future.")
    at = min(at if at.microsecond else at.replace(microsecond=999_999), newest)
    while True:
        not_later = [version for version, time in enumerate(times, begin + 1) if time <= at]
        if not_later or begin == 0:
            return at, not_later[-1] if not_later else 0
        # The events before, up to STEP at a time.
        end, begin = begin, (begin - 1) // STEP * STEP
        earliest = kept.earliest(subject, end) if end % STEP == 0 else None
        times = []
        if earliest is None or earliest <= at:
            pages = _pages(subject, ledger, begin, end)
            times = [ledger.event(entry).timestamp for entry in chain.from_iterable(pages)]


def read_history(
    subject: Subject, after: int, limit: int, *, ledger: Ledger, kept: PastStates
) -> tuple[Sequence[HistoryItem], bool]:
    """Return the events after a version, oldest first, and whether more follow.

    kept: the states at the ends of earlier pages. Raises TicketNotFound if there is no history, StoreUnavailable.
    """
    items: list[HistoryItem] = []
    known = kept.at(subject, after, ledger)
    for former, entry, event, fold in _folded(subject, known, ledger, kept, after + limit + 1):
        if entry.version > after + limit:
            return items, True
        if entry.version > after:
            items.append(_item(former, entry, event, fold.state))
        if entry.version == after + limit:
            kept.keep(subject, fold)
        known = fold
    _require_events(subject, known)
    return items, False


def history(subject: Subject, *, ledger: Ledger) -> Iterator[HistoryItem]:
    """Yield the events of the user's credential, oldest first. Raises TicketNotFound, LedgerBroken."""
    newest = Fold()
    for former, entry, event, fold in _folded(subject, newest, ledger):
        yield _item(former, entry, event, fold.state)
        newest = fold
    _require_events(subject, newest)


def _folded(
    subject: Subject, fold: Fold, ledger: Ledger, kept: PastStates | None = None, last: int = _NEWEST
) -> Iterator[tuple[TicketState | None, LedgerEntry, Event, Fold]]:
    """Yield each entry after a fold, up to a version, with the state before it and the fold after it.

    kept: gets the fold at every multiple of STEP.
    """
    for entry in chain.from_iterable(_pages(subject, ledger, fold.version, last)):
        event, former = ledger.event(entry), fold.state
        fold = fold.after(entry, event, _evolved(former, event))
        if kept and fold.version % STEP == 0:
            kept.keep(subject, fold)
        yield former, entry, event, fold


def _pages(subject: Subject, ledger: Ledger, after: int, last: int) -> Iterator[Sequence[LedgerEntry]]:
    named = f"the ticket of user {subject.user_ext_id!r}"
    return stream_pages(
        subject.client_ext_id, stream_id(*subject), named, ledger=ledger, after=after, last=last
    )


def _require_events(subject: Subject, fold: Fold) -> None:
    if fold.state is None:
        raise TicketNotFound(f"User {subject.user_ext_id!r} never had a ticket.")


def _item(
    former: TicketState | None, entry: LedgerEntry, event: Event, state: TicketState | None
) -> HistoryItem:
    ext_id = state.ext_id if state else None
    item: HistoryItem = {
        "version": entry.version,
        "position": entry.position,
        "type": entry.topic,
        "time": _date(event),
        "actor": event.actor,
        "reason": event.reason,
        "correlationId": event.correlation_id,
        "changes": _changes(former, state, event.timestamp),
        "aggregate": AGGREGATE,
        "aggregateId": ext_id,
        "ticketExtId": ext_id,
    }
    if event.reason_erased:
        item["reasonErased"] = True
    return item


def stream_pages(
    client_ext_id: str, stream: UUID, named: str, *, ledger: Ledger, after: int = 0, last: int = _NEWEST
) -> Iterator[Sequence[LedgerEntry]]:
    """Yield the ledger entries of a stream after a version, up to one. named: for messages.

    Raises LedgerBroken if a version is missing.
    """
    version, subject = after, Subject(client_ext_id, "")
    while version < last and (page := ledger.entries_of(subject, stream, version, min(PAGE, last - version))):
        for entry in page:
            version += 1
            if entry.version != version or not entry.state:
                raise _missing(named, client_ext_id, version)
        yield page


def _missing(named: str, client_ext_id: str, version: int) -> LedgerBroken:
    return LedgerBroken(
        f"version {version} of {named} in client {client_ext_id!r} is missing from the record: run `tickets replay --check`"
    )


def search_log(
    query: HistoryQuery, after: int, limit: int, *, ledger: Ledger
) -> tuple[Sequence[LogItem], bool]:
    """Return the matching ledger entries by position, and whether more follow. Raises StoreUnavailable."""
    found = ledger.search(query, after, limit + 1)
    return log_items(found[:limit], ledger=ledger), len(found) > limit


def log_pages(query: HistoryQuery, *, ledger: Ledger) -> Iterator[Sequence[LedgerEntry]]:
    """Yield all matching ledger entries by position, in pages. Raises StoreUnavailable."""
    position = 0
    while page := ledger.search(query, position, LOG_PAGE):
        yield page
        position = page[-1].position


def log_items(entries: Sequence[LedgerEntry], *, ledger: Ledger) -> Sequence[LogItem]:
    """Return the responses for ledger entries of one client. Raises StoreUnavailable."""
    events = [ledger.event(entry) for entry in entries]
    return list(map(_log_item, entries, events, objects_of(entries, events, ledger=ledger)))


def _log_item(entry: LedgerEntry, event: Event, changed: EventObject) -> LogItem:
    kind: Any = event.__class__
    values = {name: getattr(event, name) for name in _names_of_details(kind)}
    details = {name: value for name, value in values.items() if value is not UNSET}
    if "ticket_hash" in details:
        details["ticket_hash"] = fingerprint(details["ticket_hash"])
    item: LogItem = {
        "position": entry.position,
        "type": entry.topic,
        "userExtId": entry.user_ext_id or None,
        "version": entry.version,
        "time": _date(event),
        "actor": event.actor,
        "reason": event.reason,
        "correlationId": event.correlation_id,
        "details": details,
        "aggregate": changed.kind,
        "aggregateId": changed.name,
        "ticketExtId": changed.ticket_ext_id,
    }
    if event.reason_erased:
        item["reasonErased"] = True
    return item


@cache
def _names_of_details(event: Any) -> Sequence[str]:
    return [field.name for field in fields(event) if field.name not in _SHOWN_ELSEWHERE]


def reason_text(item: HistoryItem | LogItem) -> str:
    """Return the comment for people; empty: none."""
    return ERASED if item.get("reasonErased") else item["reason"] or ""


def _evolved(state: TicketState | None, event: Event) -> TicketState:
    if state is None and isinstance(event, UnknownEvent):
        raise LaterRelease("a later release wrote the first event of the credential")
    return evolve(state, event)


def fingerprint(ticket_hash: str) -> str:
    """Return the public form of a hash: its algorithm and a truncated digest."""
    digest = hashlib.sha256(ticket_hash.encode()).hexdigest()[:_FINGERPRINT_DIGITS]
    return f"{{{kind_of(ticket_hash) or '?'}}} {digest}"


def _changes(old: TicketState | None, new: TicketState | None, now: datetime) -> list[Change]:
    # The expiry of a lock is not a change made by the event.
    before, after = old and old.at(now), new and new.at(now)
    fields: Iterable[str] = _ROW_FIELDS
    if before and after and before.deleted == after.deleted:
        named = _ROW_FIELDS.items()
        fields = [name for name, of_row in named if getattr(before, of_row) != getattr(after, of_row)]
    changes = ((field, _shown(before, field), _shown(after, field)) for field in fields)
    return [{"field": field, "from": was, "to": now_is} for field, was, now_is in changes if was != now_is]


def _shown(row: TicketState | None, field: str) -> Any:
    if row is None or row.deleted:
        return None
    value = getattr(row, _ROW_FIELDS[field])
    if field == "ticket":
        return fingerprint(value)
    return utc_date(value) if isinstance(value, datetime) else value


def _date(event: Event) -> str:
    return utc_date(event.timestamp) or ""


# The response fields, in order, and their row fields; without version and lastModified (always change) and type (never).
_ROW_FIELDS = {
    "created": "created",
    "extId": "ext_id",
    "userExtId": "user_ext_id",
    "policyExtId": "policy_ext_id",
    "stateName": "state_name",
    "stateChangeReason": "state_change_reason",
    "stateChangeDetail": "state_change_detail",
    "lastSuccessfulLoginDate": "last_successful_login_date",
    "successfulLoginCount": "successful_login_count",
    "lastFailedLoginDate": "last_failed_login_date",
    "failedLoginCount": "failed_login_count",
    "modificationComment": "modification_comment",
    "validity.from": "valid_from",
    "validity.to": "valid_to",
    "ticket": "ticket_hash",
    "failureCount": "failure_count",
    "successCount": "success_count",
    "resetCount": "reset_count",
}
_SHOWN_ELSEWHERE = (
    "originator_id",
    "originator_version",
    "originator_topic",
    "timestamp",
    "actor",
    "reason",
    "correlation_id",
    "command_id",
    "request_digest",
    "details",
    "client_ext_id",
    "user_ext_id",
)
