"""Subscriptions, wired."""

from functools import partial

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
from interface.composition.register.tools import Handlers, Tools


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
