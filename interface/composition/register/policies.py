"""Policies, wired."""

from application.policies.define_policy import DefinePolicy, define_policy
from interface.composition.register.tools import Edge
from interface.http.core.room import Room
from interface.http.policies import routes

HANDLERS = {DefinePolicy: define_policy}


def room(_: Edge) -> Room:
    """Return the routes of policies."""
    return Room([routes.router])
