"""Policies, wired."""

from functools import partial

from application.policies.define_policy import DefinePolicy, define_policy
from interface.composition.register.tools import Edge, Handlers, Tools
from interface.http.core.room import Room
from interface.http.policies import routes


def handlers(tools: Tools) -> Handlers:
    """Return the handlers of commands about policies."""
    return {DefinePolicy: partial(define_policy, clock=tools.clock)}


def room(_: Edge) -> Room:
    """Return the routes of policies."""
    return Room([routes.router])
