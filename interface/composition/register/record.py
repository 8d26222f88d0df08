"""The record, wired."""

from functools import partial

from application.record.access_log import NoteAccess, note_access
from interface.composition.register.tools import Handlers, Tools


def handlers(tools: Tools) -> Handlers:
    """Return the handlers of commands about the access log."""
    return {NoteAccess: partial(note_access, clock=tools.clock)}
