"""Delivery, wired."""

from functools import partial

from application.delivery.record_delivery import (
    RecordDelivery,
    RetryDeliveries,
    record_delivery,
    retry_deliveries,
)
from interface.composition.register.tools import Edge, Handlers, Tools
from interface.http.core.room import Room
from interface.http.delivery import routes


def handlers(tools: Tools) -> Handlers:
    """Return the handlers of commands about deliveries."""
    return {
        RecordDelivery: partial(record_delivery, clock=tools.clock),
        RetryDeliveries: retry_deliveries,
    }


def room(edge: Edge) -> Room:
    """Return the routes of deliveries."""
    return Room([routes.router], routes.DeliveryPart(outbox=edge.store, ledger=edge.store, live=edge.live))
