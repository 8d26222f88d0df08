"""Registers the handlers, tables and routes of tickets."""

from application.tickets.create_ticket import CreateTicket, create_ticket
from application.tickets.expire_tickets import NoteExpiry, note_expiry
from application.tickets.import_ticket import ImportTicket, import_ticket
from application.tickets.modify_ticket import DeleteTicket, ModifyTicket, delete_ticket, modify_ticket
from application.tickets.regenerate_ticket import RegenerateTicket, regenerate_ticket
from application.tickets.verify_ticket import VerifyTicket, verify_ticket
from interface.composition.register.contexts import Capability, RouteContext
from interface.http.core.permissions import (
    CREDENTIAL_CREATE,
    CREDENTIAL_DELETE,
    CREDENTIAL_MODIFY,
    CREDENTIAL_VERIFY,
    CREDENTIAL_VIEW,
    DELIVERY_OVERRIDE,
)
from interface.http.core.room import Room
from interface.http.tickets import find, import_, regenerate, routes, verify
from interface.outbound.sql.ticket_table import TICKET_TABLE


def room(_: RouteContext) -> Room:
    """Return the routes of tickets."""
    return Room([regenerate.router, routes.router, verify.router, find.router, import_.router])


CAPABILITY = Capability(
    handlers={
        CreateTicket: create_ticket,
        ImportTicket: import_ticket,
        RegenerateTicket: regenerate_ticket,
        ModifyTicket: modify_ticket,
        DeleteTicket: delete_ticket,
        VerifyTicket: verify_ticket,
        NoteExpiry: note_expiry,
    },
    tables=(TICKET_TABLE,),
    room=room,
    permissions=(
        CREDENTIAL_CREATE,
        CREDENTIAL_DELETE,
        import_.CREDENTIAL_IMPORT,
        CREDENTIAL_MODIFY,
        CREDENTIAL_VERIFY,
        CREDENTIAL_VIEW,
        DELIVERY_OVERRIDE,
    ),
)
