"""The record, wired."""

from functools import partial

from application.record.access_log import NoteAccess, note_access
from interface.composition.register.tools import Capability, Edge, Handlers, Tools
from interface.http.core.room import Room
from interface.http.record import routes
from interface.outbound.sql.access_log_table import ACCESS_LOG_TABLE


def handlers(tools: Tools) -> Handlers:
    """Return the handlers of commands about the access log."""
    return {NoteAccess: partial(note_access, clock=tools.clock)}


def room(edge: Edge) -> Room:
    """Return the routes of the record."""
    return Room([routes.router], routes.RecordPart(ledger=edge.store, history=edge.reads, signer=edge.signer))


CAPABILITY = Capability(handlers=handlers, tables=(ACCESS_LOG_TABLE,), room=room)
