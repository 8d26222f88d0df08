"""Policies, wired."""

from functools import partial

from application.policies.define_policy import DefinePolicy, define_policy
from interface.composition.register.tools import Capability, Edge, Handlers, Tools
from interface.http.core.room import Room
from interface.http.policies import routes
from interface.outbound.sql.policy_table import POLICY_TABLE


def handlers(tools: Tools) -> Handlers:
    """Return the handlers of commands about policies."""
    return {DefinePolicy: partial(define_policy, clock=tools.clock)}


def room(_: Edge) -> Room:
    """Return the routes of policies."""
    return Room([routes.router])


CAPABILITY = Capability(handlers=handlers, tables=(POLICY_TABLE,), room=room)
