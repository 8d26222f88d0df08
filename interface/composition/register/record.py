"""The record, wired."""

from application.record.access_log import NoteAccess, note_access
from interface.composition.register.contexts import RouteContext
from interface.http.core.room import Room
from interface.http.record import routes

HANDLERS = {NoteAccess: note_access}


def room(context: RouteContext) -> Room:
    """Return the routes of the record."""
    return Room(
        [routes.router], routes.RecordPart(ledger=context.store, history=context.reads, signer=context.signer)
    )
