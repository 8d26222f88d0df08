"""Delivery, wired."""

from application.delivery.record_delivery import (
    RecordDelivery,
    RetryDeliveries,
    record_delivery,
    retry_deliveries,
)
from interface.composition.register.contexts import RouteContext
from interface.http.core.room import Room
from interface.http.delivery import routes

HANDLERS = {RecordDelivery: record_delivery, RetryDeliveries: retry_deliveries}


def room(context: RouteContext) -> Room:
    """Return the routes of deliveries."""
    return Room(
        [routes.router], routes.DeliveryPart(outbox=context.store, ledger=context.store, live=context.live)
    )
