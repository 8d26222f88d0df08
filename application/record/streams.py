"""The stream ids and the ledger columns, derived from the events.

A write stores the columns that `columns_of` returns; a check of the record compares them with the stored ones.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib import import_module
from pkgutil import walk_packages
from typing import NamedTuple
from uuid import UUID

import msgspec

import domain
from domain.shared.event import Event
from domain.shared.subject import Subject

_encode = msgspec.json.Encoder().encode


def _event_types() -> Iterator[type[Event]]:
    for module in walk_packages(domain.__path__, f"{domain.__name__}."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Event) and hasattr(value, "TOPIC"):
                yield value


EVENTS: dict[str, type[Event]] = {event.TOPIC: event for event in _event_types()}
"""Every event type of the domain by its stored topic: all are imported, since any of them may be in a store."""


class LedgerColumns(NamedTuple):
    """The columns of the ledger that are derived from an event.

    user_ext_id: empty if the event does not concern a single user. occurred: formatted by `column_date`. trace_id: from
    the traceparent, 32 hex digits.
    """

    client_ext_id: str
    stream: UUID
    version: int
    user_ext_id: str
    topic: str
    occurred: str
    actor: str
    trace_id: str


def columns_of(event: Event, subject: Subject) -> LedgerColumns:
    """Return the ledger columns of an event. subject: of its stream, for an event without ids."""
    if origin := event.origin:
        subject = origin.subject
    return LedgerColumns(
        subject.client_ext_id,
        event.originator_id,
        event.originator_version,
        subject.user_ext_id,
        type(event).TOPIC,
        column_date(event.timestamp),
        event.actor,
        event.correlation_id[3:35],
    )


def column_date(moment: datetime) -> str:
    """Return an aware UTC time as text in chronological sort order."""
    # A check formats the time of every event; msgspec takes a tenth of the time, but omits zero microseconds.
    text = _encode(moment).decode()
    if text.endswith('Z"'):
        return f"{text[1:-2]}+00:00" if moment.microsecond else f"{text[1:-2]}.000000+00:00"
    return moment.isoformat(timespec="microseconds")


def parse_column_date(text: str) -> datetime:
    """Return the time of a text. Raises ValueError unless it is a time in UTC exactly as `column_date` writes it."""
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() != timedelta() or column_date(moment) != text:
        raise ValueError(f"{text!r} is not a time in UTC")
    return moment
