"""The check of the outbox: each queued ticket was minted by an event of the ledger."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from application.delivery.outbox import OutboxStatus
from application.record.streams import column_date
from domain.delivery.ticket_delivery import delivery_stream_id
from domain.tickets.events import TicketCreated, TicketRegenerated
from interface.outbound.sql.table import Fetch, Row, pages

_MINTING = (TicketCreated.TOPIC, TicketRegenerated.TOPIC)
_PAGE = """
SELECT client_ext_id, stream, version, user_ext_id, minted, standing, so_far, terms, trying FROM outbox
WHERE (client_ext_id, stream, version) > (?, ?, ?) ORDER BY client_ext_id, stream, version LIMIT ?
"""
_UNCHANGED = """
SELECT 1 FROM outbox WHERE client_ext_id = ? AND stream = ? AND version = ? AND user_ext_id = ? AND minted = ?
    AND standing = ? AND so_far = ? AND terms = ? AND trying = ?
"""
_MINTED = """
SELECT client_ext_id, stream, version, user_ext_id, topic, occurred FROM ledger
WHERE (client_ext_id, stream, version) IN (VALUES {marks})
"""
_EVENTS = """
SELECT client_ext_id, stream, max(version) FROM ledger WHERE (client_ext_id, stream) IN (VALUES {marks})
GROUP BY client_ext_id, stream
"""


def outbox_faults(decoders: Mapping[str, Callable[[str], object]], fetch: Fetch) -> Iterator[str]:
    """Yield a message for each queued ticket that differs from the events.

    decoders: of the columns `terms` and `trying`.
    """
    for page in pages(fetch, _PAGE, ("", "", 0)):
        for row, fault in _differing(page, decoders, fetch):
            # A running service may have delivered the ticket since the row was read.
            if fetch(_UNCHANGED, row):
                client, _, version, user, *_ = row
                yield f"client {client!r}, queued ticket of user {user!r}, version {version}: {fault}"


def _differing(
    page: Sequence[Row], decoders: Mapping[str, Callable[[str], object]], fetch: Fetch
) -> Iterator[tuple[Row, str]]:
    keys = [(client, _uuid(stream), version) for client, stream, version, *_ in page]
    deliveries = [(client, delivery_stream_id(stream, version)) for client, stream, version in keys]
    minted = {_key(row[:3]): row[3:] for row in _rows(fetch, _MINTED, keys)}
    events = {_key(row[:2]): row[2] for row in _rows(fetch, _EVENTS, deliveries)}
    for row, key, delivery in zip(page, keys, deliveries, strict=True):
        *_, user, time, standing, so_far, terms, trying = row
        of_user, topic, occurred = minted.get(key, ("", "", ""))
        if topic not in _MINTING:
            yield row, "no event minted it (columns client_ext_id, stream and version)"
            continue
        known = events.get(delivery, 0)
        possible = tuple(OutboxStatus) if known else (OutboxStatus.QUEUED,)
        for column, stored, wanted in (
            ("user_ext_id", user, of_user),
            ("minted", _column_date(time), occurred),
            ("so_far", so_far, known),
            ("standing", standing, standing if standing in possible else OutboxStatus.QUEUED),
        ):
            if stored != wanted:
                yield row, f"column {column} is {str(stored)!r}, not {str(wanted)!r}"
        for column, text in (("terms", terms), ("trying", trying)):
            if fault := _undecodable(decoders[column], text):
                yield row, f"column {column} cannot be decoded: {fault}"


def _undecodable(decode: Callable[[str], object], text: str) -> str:
    try:
        decode(text)
    except (ValueError, TypeError, RecursionError) as error:
        return str(error)
    return ""


def _rows(fetch: Fetch, statement: str, keys: Sequence[Row]) -> Iterator[Row]:
    marks = ",".join([f"({','.join('?' * len(keys[0]))})"] * len(keys))
    yield from map(tuple, fetch(statement.format(marks=marks), [value for key in keys for value in key]))


def _key(columns: Row) -> Row:
    client, stream, *version = columns
    return (client, UUID(str(stream)), *version)


def _uuid(text: str) -> UUID:
    with suppress(ValueError):
        return UUID(text)
    return UUID(int=0)  # of no stream


def _column_date(text: str) -> Any:
    with suppress(ValueError):
        return column_date(datetime.fromisoformat(text))
    return text
