"""The record, wired."""

from application.record.access_log import NoteAccess, note_access
from interface.composition.register.tools import Edge
from interface.http.core.room import Room
from interface.http.record import routes

HANDLERS = {NoteAccess: note_access}


def room(edge: Edge) -> Room:
    """Return the routes of the record."""
    return Room([routes.router], routes.RecordPart(ledger=edge.store, history=edge.reads, signer=edge.signer))
