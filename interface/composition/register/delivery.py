"""Delivery, wired."""

from functools import partial

from application.delivery.record_delivery import (
    RecordDelivery,
    RetryDeliveries,
    record_delivery,
    retry_deliveries,
)
from interface.composition.register.tools import Capability, Edge, Handlers, Tools
from interface.http.core.room import Room
from interface.http.delivery import routes
from interface.outbound.sql.outbox_tables import DELIVERY_TABLE, OUTBOX_TABLE, RETRY_TABLE


def handlers(tools: Tools) -> Handlers:
    """Return the handlers of commands about deliveries."""
    return {
        RecordDelivery: partial(record_delivery, clock=tools.clock),
        RetryDeliveries: retry_deliveries,
    }


def room(edge: Edge) -> Room:
    """Return the routes of deliveries."""
    return Room([routes.router], routes.DeliveryPart(outbox=edge.store, ledger=edge.store, live=edge.live))


CAPABILITY = Capability(handlers=handlers, tables=(OUTBOX_TABLE, DELIVERY_TABLE, RETRY_TABLE), room=room)
