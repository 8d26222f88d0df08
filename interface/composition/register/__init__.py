"""Registration: a module per capability, and the list of the capabilities."""

from collections.abc import Sequence

from interface.composition.register import (
    delivery,
    feed,
    health,
    policies,
    record,
    ssf,
    subscriptions,
    tickets,
    users,
)
from interface.composition.register.tools import Edge, Handlers, Tools
from interface.http.core.room import Room

# In this order their operations stand in the OpenAPI document.
_MODULES = (tickets, delivery, users, policies, record, feed, subscriptions, ssf, health)
CAPABILITIES = [module.CAPABILITY for module in _MODULES]
TABLES = [table for capability in CAPABILITIES for table in capability.tables]


def handlers(tools: Tools) -> Handlers:
    """Return the handler of every command."""
    return {
        kind: handler for capability in CAPABILITIES for kind, handler in capability.handlers(tools).items()
    }


def rooms(edge: Edge) -> Sequence[Room]:
    """Return every room of the HTTP edge."""
    return [capability.room(edge) for capability in CAPABILITIES if capability.room]


__all__ = ["TABLES", "Edge", "Handlers", "Tools", "handlers", "rooms"]
