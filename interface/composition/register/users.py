"""Users, wired."""

from functools import partial

from application.tickets.erase_user import EraseUser, erase_user
from application.users.register_user import RegisterUser, register_user
from interface.composition.register.tools import Handlers, Tools


def handlers(tools: Tools) -> Handlers:
    """Return the handlers of commands about users."""
    return {
        RegisterUser: partial(register_user, clock=tools.clock),
        EraseUser: partial(erase_user, clock=tools.clock),
    }
