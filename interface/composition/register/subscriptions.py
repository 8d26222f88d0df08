"""Subscriptions, wired."""

import base64
from functools import partial

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
from interface.composition.register.tools import Edge, Handlers, Tools
from interface.http.core.room import Room
from interface.http.subscriptions import control_routes, routes

_WEBHOOK_SECRET_BYTES = 32


def handlers(tools: Tools) -> Handlers:
    """Return the handlers of commands about subscriptions."""
    clock, sealer = tools.clock, tools.sealer
    return {
        DefineSubscription: partial(
            define_subscription, clock=clock, sealer=sealer, private_hosts=tools.private_hosts
        ),
        DeleteSubscription: partial(delete_subscription, clock=clock, sealer=sealer),
        ReplaySubscription: partial(replay_subscription, clock=clock),
        ChangeSubscriptionStatus: partial(change_subscription_status, clock=clock),
    }


def room(edge: Edge) -> Room:
    """Return the routes of subscriptions."""

    def new_webhook_secret() -> Secret:
        octets = edge.randomness.octets(_WEBHOOK_SECRET_BYTES)
        return Secret("whsec_" + base64.b64encode(octets).decode())

    part = routes.SubscriptionPart(
        subscriptions=edge.store, ledger=edge.store, new_webhook_secret=new_webhook_secret
    )
    return Room([routes.router, control_routes.router], part)
