"""Policies, wired."""

from functools import partial

from application.policies.define_policy import DefinePolicy, define_policy
from interface.composition.register.tools import Handlers, Tools


def handlers(tools: Tools) -> Handlers:
    """Return the handlers of commands about policies."""
    return {DefinePolicy: partial(define_policy, clock=tools.clock)}
