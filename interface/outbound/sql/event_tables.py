"""The events, completed by their reasons, which another table contains until they are erased."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from msgspec import convert

from application.record.ledger import LedgerEntry
from application.transaction.details import Details
from domain.shared.event import Event
from interface.outbound.sql.codec import decoded
from interface.outbound.sql.details_table import to_details
from interface.outbound.sql.sql_tables import SqlTables
from interface.outbound.sql.table import chunks, padded

NO_STREAM = UUID(int=0)
# In the stored form of an event with a commitment, and in no other: within a JSON string, the quotes are escaped.
_COMMITTED = b'"details":"'
_DETAILS = """
SELECT position, salt, reason FROM ledger JOIN details USING (client_ext_id, stream, version)
WHERE client_ext_id = ? AND position IN ({marks})
"""
_OF_STREAM = "SELECT version, salt, reason FROM details WHERE client_ext_id = ? AND stream = ?"


class SqlEvents(SqlTables):
    """Implements the part of the ports Store and Ledger about events; the ports document the methods."""

    def events_of(self, stream: UUID) -> Sequence[Event]:
        """Return every event of a stream, oldest first."""
        events = self._without_reasons(stream)
        origin = events[0].origin if events else None
        return self._with_reasons(events, origin.subject.client_ext_id, stream) if origin else events

    def _events_between(self, client_ext_id: str, stream: UUID, after: int, last: int) -> Sequence[Event]:
        """Return the events of a stream of a client after a version, up to and including the last one."""
        return self._with_reasons(self._without_reasons(stream, after, last), client_ext_id, stream)

    def _without_reasons(
        self, stream: UUID, after: int | None = None, last: int | None = None
    ) -> Sequence[Event]:
        stored = self._stored_events(stream, after, last)
        return [cast("Event", self._mapper.to_domain_event(event)) for event in stored]

    @abstractmethod
    def _stored_events(self, stream: UUID, after: int | None, last: int | None) -> Sequence[StoredEvent]:
        """Return the stored events of a stream after a version, up to and including the last one, oldest first."""

    def _with_reasons(self, events: Sequence[Event], client_ext_id: str, stream: UUID) -> Sequence[Event]:
        if not any(event.reason_erased for event in events):
            return events
        rows = self._fetch(_OF_STREAM, (client_ext_id, stream))
        reasons = {version: to_details(salt, reason).reason for version, salt, reason in rows}
        return [completed(event, reasons.get(event.originator_version)) for event in events]

    def event(self, entry: LedgerEntry) -> Event:
        """Return the event of an entry. Raises ValueError if the stored bytes are not an event."""
        return completed(decoded(entry.topic, entry.state), entry.reason)

    def details(self, client_ext_id: str, positions: Sequence[int]) -> Mapping[int, Details]:
        """Return the texts of the entries at these positions, unless they have none or it was erased."""
        found: dict[int, Details] = {}
        for chunk in chunks(positions):
            wanted = padded(chunk, chunk[-1])
            statement = _DETAILS.format(marks=",".join("?" * len(wanted)))
            rows = self._fetch(statement, (client_ext_id, *wanted))
            found.update((position, to_details(salt, reason)) for position, salt, reason in rows)
        return found

    def _entries(self, rows: Iterable[Any]) -> list[LedgerEntry]:
        """Return entries of one client from their columns and the state of their events, with the reasons."""
        entries, known, stream, make = [], None, NO_STREAM, LedgerEntry._make
        # The rows of a stream often follow each other, and a UUID takes as long to parse as the rest of the row.
        for client, position, stored, version, user, topic, occurred, actor, trace, leaf, state, *_ in rows:
            if stored != known:
                known, stream = stored, uuid_of(stored)
            columns = (client, position, stream, version, user, topic, occurred, actor, trace)
            entries.append(make((*columns, bytes(leaf), bytes(state or b""), None)))
        committed = [entry.position for entry in entries if _COMMITTED in entry.state]
        if not committed:
            return entries
        found = self.details(entries[0].client_ext_id, committed)
        return [
            entry._replace(reason=found[entry.position].reason) if entry.position in found else entry
            for entry in entries
        ]


def completed(event: Event, reason: str | None) -> Event:
    """Return the event with its reason; None: it has none, contains it, or it was erased."""
    return event if reason is None or not event.reason_erased else replace(event, reason=reason)


def uuid_of(stream: str | UUID) -> UUID:
    """Return the id of a stream from its column."""
    # convert takes a third of the time of UUID.
    return stream if isinstance(stream, UUID) else convert(stream, UUID)
