"""Policies, wired."""

from application.policies.define_policy import DefinePolicy, define_policy
from interface.composition.register.contexts import RouteContext
from interface.http.core.room import Room
from interface.http.policies import routes

HANDLERS = {DefinePolicy: define_policy}


def room(_: RouteContext) -> Room:
    """Return the routes of policies."""
    return Room([routes.router])
