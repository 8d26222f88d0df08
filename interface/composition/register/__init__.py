"""What each capability brings to the service: a module per capability, and the list of them."""

from interface.composition.register import delivery, policies, record, subscriptions, tickets, users
from interface.composition.register.tools import Handlers, Tools

CAPABILITIES = (tickets, users, policies, record, delivery, subscriptions)


def handlers(tools: Tools) -> Handlers:
    """Return the handler of every command."""
    return {
        kind: handler for capability in CAPABILITIES for kind, handler in capability.handlers(tools).items()
    }


__all__ = ["CAPABILITIES", "Handlers", "Tools", "handlers"]
