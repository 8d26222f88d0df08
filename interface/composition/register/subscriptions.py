"""Registers the handlers, tables and routes of subscriptions."""

import base64

from application.subscriptions.control_subscription import (
    ChangeSubscriptionStatus,
    DeleteSubscription,
    ReplaySubscription,
    change_subscription_status,
    delete_subscription,
    replay_subscription,
)
from application.subscriptions.define_subscription import DefineSubscription, define_subscription
from domain.shared.secret import Secret
from interface.composition.register.contexts import Capability, RouteContext
from interface.http.core.permissions import SUBSCRIPTION_MODIFY, SUBSCRIPTION_VIEW
from interface.http.core.room import Room
from interface.http.subscriptions import control_routes, routes
from interface.outbound.sql.subscription_tables import LEDGER_SIZE_TABLE, SUBSCRIPTION_TABLE

_WEBHOOK_SECRET_BYTES = 32


def room(context: RouteContext) -> Room:
    """Return the routes of subscriptions."""

    def new_webhook_secret() -> Secret:
        octets = context.randomness.octets(_WEBHOOK_SECRET_BYTES)
        return Secret("whsec_" + base64.b64encode(octets).decode())

    part = routes.SubscriptionPart(
        subscriptions=context.store, ledger=context.store, new_webhook_secret=new_webhook_secret
    )
    return Room([routes.router, control_routes.router], part)


CAPABILITY = Capability(
    handlers={
        DefineSubscription: define_subscription,
        DeleteSubscription: delete_subscription,
        ReplaySubscription: replay_subscription,
        ChangeSubscriptionStatus: change_subscription_status,
    },
    tables=(SUBSCRIPTION_TABLE, LEDGER_SIZE_TABLE),
    room=room,
    permissions=(
        SUBSCRIPTION_MODIFY,
        SUBSCRIPTION_VIEW,
    ),
)
