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
from interface.composition.register.contexts import HandlerContext, Handlers, RouteContext
from interface.http.core.room import Room

CAPABILITIES = (tickets, users, policies, record, delivery, subscriptions)
# In this order their operations stand in the OpenAPI document.
ROOMS = (tickets, delivery, users, policies, record, feed, subscriptions, ssf, health)


def handlers(context: HandlerContext) -> Handlers:
    """Return the handler of every command, with its ports and settings."""
    return {
        kind: context.bind(handler)
        for capability in CAPABILITIES
        for kind, handler in capability.HANDLERS.items()
    }


def rooms(context: RouteContext) -> Sequence[Room]:
    """Return every room of the HTTP edge."""
    return [module.room(context) for module in ROOMS]


__all__ = ["CAPABILITIES", "ROOMS", "HandlerContext", "Handlers", "RouteContext", "handlers", "rooms"]
