"""Tickets, wired."""

from functools import partial

from application.delivery.enqueue import enqueue_delivery
from application.tickets.create_ticket import CreateTicket, create_ticket
from application.tickets.expire_tickets import NoteExpiry, note_expiry
from application.tickets.modify_ticket import DeleteTicket, ModifyTicket, delete_ticket, modify_ticket
from application.tickets.regenerate_ticket import RegenerateTicket, regenerate_ticket
from application.tickets.verify_ticket import VerifyTicket, verify_ticket
from interface.composition.register.tools import Capability, Edge, Handlers, Tools
from interface.http.core.room import Room
from interface.http.tickets import routes
from interface.outbound.sql.ticket_table import TICKET_TABLE


def handlers(tools: Tools) -> Handlers:
    """Return the handlers of commands about tickets."""
    clock, randomness = tools.clock, tools.randomness
    enqueue = partial(enqueue_delivery, sealer=tools.sealer)
    return {
        CreateTicket: partial(create_ticket, clock=clock, randomness=randomness, enqueue=enqueue),
        RegenerateTicket: partial(regenerate_ticket, clock=clock, randomness=randomness, enqueue=enqueue),
        ModifyTicket: partial(modify_ticket, clock=clock),
        DeleteTicket: partial(delete_ticket, clock=clock),
        VerifyTicket: partial(verify_ticket, clock=clock, randomness=randomness),
        NoteExpiry: partial(note_expiry, clock=clock),
    }


def room(_: Edge) -> Room:
    """Return the routes of tickets."""
    return Room([routes.router])


CAPABILITY = Capability(handlers=handlers, tables=(TICKET_TABLE,), room=room)
