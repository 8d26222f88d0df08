"""Subscriptions, wired."""

import base64

from application.subscriptions.subscribe import (
    ChangeSubscriptionStatus,
    DefineSubscription,
    DeleteSubscription,
    ReplaySubscription,
    change_subscription_status,
    define_subscription,
    delete_subscription,
    replay_subscription,
)
from domain.shared.secret import Secret
from interface.composition.register.contexts import RouteContext
from interface.http.core.room import Room
from interface.http.subscriptions import routes

_WEBHOOK_SECRET_BYTES = 32


HANDLERS = {
    DefineSubscription: define_subscription,
    DeleteSubscription: delete_subscription,
    ReplaySubscription: replay_subscription,
    ChangeSubscriptionStatus: change_subscription_status,
}


def room(context: RouteContext) -> Room:
    """Return the routes of subscriptions."""

    def new_webhook_secret() -> Secret:
        octets = context.randomness.octets(_WEBHOOK_SECRET_BYTES)
        return Secret("whsec_" + base64.b64encode(octets).decode())

    part = routes.SubscriptionPart(
        subscriptions=context.store, ledger=context.store, new_webhook_secret=new_webhook_secret
    )
    return Room([routes.router], part)
