"""Registers the handlers, tables and routes of users."""

from application.tickets.erase_user import EraseUser, erase_user
from application.users.record_users import RecordUser, record_user
from application.users.register_user import RegisterUser, register_user
from interface.composition.register.contexts import Capability, RouteContext
from interface.http.core.room import Room
from interface.http.users import routes
from interface.outbound.sql.user_table import USER_STATE_TABLE, USER_TABLE


def room(_: RouteContext) -> Room:
    """Return the routes of users."""
    return Room([routes.router])


CAPABILITY = Capability(
    handlers={RegisterUser: register_user, RecordUser: record_user, EraseUser: erase_user},
    tables=(USER_TABLE, USER_STATE_TABLE),
    room=room,
    permissions=(routes.USER_MODIFY, routes.USER_VIEW),
)
