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

CAPABILITIES = (tickets, users, policies, record, delivery, subscriptions)
# The order of their operations in the OpenAPI document.
ROOMS = (tickets, delivery, users, policies, record, feed, subscriptions, ssf, health)


def handlers(tools: Tools) -> Handlers:
    """Return the handler of every command."""
    return {
        kind: handler for capability in CAPABILITIES for kind, handler in capability.handlers(tools).items()
    }


def rooms(edge: Edge) -> Sequence[Room]:
    """Return every room of the HTTP edge."""
    return [module.room(edge) for module in ROOMS]


__all__ = ["CAPABILITIES", "ROOMS", "Edge", "Handlers", "Tools", "handlers", "rooms"]
