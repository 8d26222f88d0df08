"""The object of each event: the aggregate that it changed, derived from the event classes."""

from collections import defaultdict
from collections.abc import Sequence
from operator import attrgetter
from typing import Annotated, NamedTuple
from uuid import UUID

from pydantic import Field

from application.record.ledger import Ledger, LedgerEntry
from domain.shared.event import Event, Origin
from domain.tickets.events import TicketCreated

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
    # Each origin derives a UUID, which takes as long as the rest.
    origins = [event.origin for event in events]
    wanted = set()
    for event, origin in zip(events, origins, strict=True):
        ticket = event.ticket
        if not origin:
            wanted.add(event.originator_id)
        if ticket and not (origin and ticket[0] == event.originator_id):
            wanted.add(ticket[0])
    named = _NamingEvents()
    if not wanted:
        return list(map(named.object_of, entries, events, origins))
    end = entries[-1].position
    if end - entries[0].position == len(entries) - 1:
        # Nothing lies between them, so only former events are read, and none of a stream that begins here.
        end = entries[0].position - 1
        wanted -= {entry.stream for entry in entries if entry.version == 1}
        named.add(entries, events, origins)
    named.read(entries[0].client_ext_id, sorted(wanted, key=attrgetter("int")), end, ledger)
    return list(map(named.object_of, entries, events, origins))


class _NamingEvents:
    """The events that name the objects of some streams."""

    def __init__(self) -> None:
        self._by_stream: defaultdict[UUID, list[tuple[Event, Origin | None]]] = defaultdict(list)

    def read(self, client_ext_id: str, streams: Sequence[UUID], end: int, ledger: Ledger) -> None:
        """Add those of these streams up to a position."""
        for entry in ledger.naming_entries(client_ext_id, streams, end) if streams else ():
            event = ledger.event(entry)
            self._by_stream[entry.stream].append((event, event.origin))

    def add(
        self, entries: Sequence[LedgerEntry], events: Sequence[Event], origins: Sequence[Origin | None]
    ) -> None:
        """Add those of these events that name an object."""
        for entry, event, origin in zip(entries, events, origins, strict=True):
            if entry.version == 1 or entry.topic == TicketCreated.TOPIC:
                self._by_stream[entry.stream].append((event, origin))

    def object_of(self, entry: LedgerEntry, event: Event, origin: Origin | None) -> EventObject:
        naming: Event | None = event
        if origin is None:
            naming, origin = self._at(entry.stream, entry.version)
        if naming is None or origin is None:
            return EventObject(None, None, None)
        ticket = event.ticket or naming.ticket
        if ticket is None:
            ticket_ext_id = None
        elif ticket[0] == entry.stream:
            ticket_ext_id = origin.name
        else:
            _, minted = self._at(*ticket)
            ticket_ext_id = minted.name if minted else None
        return EventObject(naming.AGGREGATE, origin.name, ticket_ext_id)

    def _at(self, stream: UUID, version: int) -> tuple[Event | None, Origin | None]:
        """Return the last event up to a version that names the object of the stream, and its origin; None: not known."""
        named = self._by_stream.get(stream, ())
        if len(named) == 1 and named[0][0].originator_version <= version:
            return named[0]
        found = [(event, origin) for event, origin in named if event.originator_version <= version]
        return max(found, key=lambda pair: pair[0].originator_version, default=(None, None))
