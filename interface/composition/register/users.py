"""Users, wired."""

from functools import partial

from application.tickets.erase_user import EraseUser, erase_user
from application.users.register_user import RegisterUser, register_user
from interface.composition.register.tools import Capability, Edge, Handlers, Tools
from interface.http.core.room import Room
from interface.http.users import routes
from interface.outbound.sql.user_table import USER_TABLE


def handlers(tools: Tools) -> Handlers:
    """Return the handlers of commands about users."""
    return {
        RegisterUser: partial(register_user, clock=tools.clock),
        EraseUser: partial(erase_user, clock=tools.clock),
    }


def room(_: Edge) -> Room:
    """Return the routes of users."""
    return Room([routes.router])


CAPABILITY = Capability(handlers=handlers, tables=(USER_TABLE,), room=room)
