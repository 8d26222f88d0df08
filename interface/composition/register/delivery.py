"""Delivery, wired."""

from functools import partial

from application.delivery.record_delivery import (
    RecordDelivery,
    RetryDeliveries,
    record_delivery,
    retry_deliveries,
)
from interface.composition.register.tools import Handlers, Tools


def handlers(tools: Tools) -> Handlers:
    """Return the handlers of commands about deliveries."""
    return {
        RecordDelivery: partial(record_delivery, clock=tools.clock),
        RetryDeliveries: retry_deliveries,
    }
