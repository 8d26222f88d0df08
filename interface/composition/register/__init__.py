"""Registration: a module per capability, and the list of the capabilities."""

from collections.abc import Sequence

from interface.composition.register import (
    bulk,
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
from interface.composition.register.contexts import HandlerContext, Handlers, RouteContext
from interface.http.core.room import Room

# The order of their operations in the OpenAPI document.
_MODULES = (tickets, bulk, delivery, users, policies, record, feed, subscriptions, ssf, health)
CAPABILITIES = [module.CAPABILITY for module in _MODULES]
TABLES = [table for capability in CAPABILITIES for table in capability.tables]
PERMISSIONS = sorted(permission for capability in CAPABILITIES for permission in capability.permissions)


def handlers(context: HandlerContext) -> Handlers:
    """Return the handler of every command, with its ports and settings."""
    return {
        kind: context.bind(handler)
        for capability in CAPABILITIES
        for kind, handler in capability.handlers.items()
    }


def rooms(context: RouteContext) -> Sequence[Room]:
    """Return every room of the HTTP edge."""
    return [capability.room(context) for capability in CAPABILITIES if capability.room]


__all__ = ["PERMISSIONS", "TABLES", "HandlerContext", "Handlers", "RouteContext", "handlers", "rooms"]
