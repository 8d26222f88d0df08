"""The record, wired."""

from functools import partial

from application.record.access_log import NoteAccess, note_access
from interface.composition.register.tools import Edge, Handlers, Tools
from interface.http.core.room import Room
from interface.http.record import routes


def handlers(tools: Tools) -> Handlers:
    """Return the handlers of commands about the access log."""
    return {NoteAccess: partial(note_access, clock=tools.clock)}


def room(edge: Edge) -> Room:
    """Return the routes of the record."""
    return Room([routes.router], routes.RecordPart(ledger=edge.store, history=edge.reads, signer=edge.signer))
