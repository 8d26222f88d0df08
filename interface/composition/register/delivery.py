"""Registers the handlers, tables and routes of deliveries."""

from application.delivery.record_delivery import (
    RecordDelivery,
    RetryDeliveries,
    record_delivery,
    retry_deliveries,
)
from interface.composition.register.contexts import Capability, RouteContext
from interface.http.core.room import Room
from interface.http.delivery import routes
from interface.outbound.sql.outbox_tables import DELIVERY_TABLE, OUTBOX_TABLE


def room(context: RouteContext) -> Room:
    """Return the routes of deliveries."""
    return Room(
        [routes.router], routes.DeliveryPart(outbox=context.store, ledger=context.store, live=context.live)
    )


CAPABILITY = Capability(
    handlers={RecordDelivery: record_delivery, RetryDeliveries: retry_deliveries},
    tables=(OUTBOX_TABLE, DELIVERY_TABLE),
    room=room,
)
