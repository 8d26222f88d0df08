"""The object of each event: the aggregate that it changed, derived from the event classes."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple
from uuid import UUID

from pydantic import Field

from application.record.ledger import Ledger, LedgerEntry
from domain.shared.event import Event

Kind = Annotated[
    str | None,
    Field(description="The kind of object that the event changed.", examples=["TicketCredential"]),
]
ObjectId = Annotated[str | None, Field(description="The id or name of that object in the client.")]
TicketExtId = Annotated[
    str | None, Field(description="The `extId` of the ticket that the event concerns; null: no ticket.")
]


class EventObject(NamedTuple):
    """The object of an event; None: unknown, since a later release stored its first event.

    kind: the AGGREGATE of the event, whose version the event has. name: its id or name in the client. ticket_ext_id: of the
    ticket that the event changed or delivered; None: it concerns no ticket.
    """

    kind: str | None
    name: str | None
    ticket_ext_id: str | None


def objects_of(
    entries: Sequence[LedgerEntry], events: Sequence[Event], *, ledger: Ledger
) -> Sequence[EventObject]:
    """Return the object of each entry of one client, given its event. Raises StoreUnavailable.

    Later events of a stream do not repeat its name, so the events that name it are read, too.
    """
    wanted = {event.originator_id for event in events if not event.origin}
    wanted |= {
        event.ticket[0]
        for event in events
        if event.ticket and not (event.origin and event.ticket[0] == event.originator_id)
    }
    named = _NamingEvents(entries, sorted(wanted), ledger)
    return [named.object_of(entry, event) for entry, event in zip(entries, events, strict=True)]


class _NamingEvents:
    """The events that name the objects of some streams."""

    def __init__(self, entries: Sequence[LedgerEntry], streams: Sequence[UUID], ledger: Ledger) -> None:
        self._by_stream: dict[UUID, list[Event]] = {}
        if not streams:
            return
        for entry in ledger.naming_entries(entries[0].client_ext_id, streams, entries[-1].position):
            self._by_stream.setdefault(entry.stream, []).append(ledger.event(entry))

    def object_of(self, entry: LedgerEntry, event: Event) -> EventObject:
        naming = event if event.origin else self._at(entry.stream, entry.version)
        origin = naming.origin if naming else None  # derives a UUID, so it is read once
        if naming is None or origin is None:
            return EventObject(None, None, None)
        ticket = event.ticket or naming.ticket
        if ticket is None:
            ticket_ext_id = None
        elif ticket[0] == entry.stream:
            ticket_ext_id = origin.name
        else:
            minted = self._at(*ticket)
            ticket_ext_id = minted.origin.name if minted and minted.origin else None
        return EventObject(naming.AGGREGATE, origin.name, ticket_ext_id)

    def _at(self, stream: UUID, version: int) -> Event | None:
        """Return the last event up to a version that names the object of the stream; None: no such event is known."""
        found = [event for event in self._by_stream.get(stream, ()) if event.originator_version <= version]
        return max(found, key=lambda event: event.originator_version, default=None)
