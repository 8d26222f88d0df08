"""Registers the handlers, tables and routes of policies."""

from application.policies.define_policy import DefinePolicy, define_policy
from interface.composition.register.contexts import Capability, RouteContext
from interface.http.core.room import Room
from interface.http.policies import routes
from interface.outbound.sql.policy_table import POLICY_TABLE


def room(_: RouteContext) -> Room:
    """Return the routes of policies."""
    return Room([routes.router])


CAPABILITY = Capability(
    handlers={DefinePolicy: define_policy},
    tables=(POLICY_TABLE,),
    room=room,
    permissions=(routes.POLICY_MODIFY, routes.POLICY_VIEW),
)
