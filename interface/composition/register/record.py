"""The record, wired."""

from application.record.access_log import NoteAccess, note_access
from interface.composition.register.contexts import Capability, RouteContext
from interface.http.core.room import Room
from interface.http.record import routes
from interface.outbound.sql.access_log_table import ACCESS_LOG_TABLE


def room(context: RouteContext) -> Room:
    """Return the routes of the record."""
    return Room(
        [routes.router], routes.RecordPart(ledger=context.store, history=context.reads, signer=context.signer)
    )


CAPABILITY = Capability(handlers={NoteAccess: note_access}, tables=(ACCESS_LOG_TABLE,), room=room)
