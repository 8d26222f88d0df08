"""Delete a subscription, move it, and change its status."""

from application.shared.ports import Clock, Sealer
from application.subscriptions.records import Target, ledger_size, save, sealed_for
from application.subscriptions.security_event import stream_updated_notice
from application.subscriptions.subscription_command import (
    SubscriptionCommand,
    checked_position,
    stored_subscription,
    to_answer,
)
from application.transaction.command import Answer
from application.transaction.outcomes import Outcome
from application.transaction.unit_of_work import UnitOfWork
from domain.subscriptions.subscription import Method, Status, Subscription


class DeleteSubscription(SubscriptionCommand, frozen=True, kw_only=True):
    """Delete a subscription."""


class ReplaySubscription(SubscriptionCommand, frozen=True, kw_only=True):
    """Continue from this position."""

    position: int


class ChangeSubscriptionStatus(SubscriptionCommand, frozen=True, kw_only=True):
    """Enable, pause or disable a subscription.

    version: the required version; None: any. announced: notify the receiver of security events.
    """

    status: Status
    version: int | None = None
    announced: bool = False


def delete_subscription(
    command: DeleteSubscription, unit: UnitOfWork, *, clock: Clock, sealer: Sealer
) -> Answer:
    """Delete a subscription and its target. Raises SubscriptionNotFound, PreconditionFailed."""
    subscribed = stored_subscription(command, unit)
    command.precondition.check(subscribed.row.version)
    subscription = Subscription.of(command.subscription, subscribed.row)
    subscription.delete(by=command.attribution(clock()))
    empty = sealer.seal(Target("").to_secret(), sealed_for(command.subscription))
    save(unit, subscription, empty)
    return command.done(Outcome.DELETED, None, None)


def replay_subscription(command: ReplaySubscription, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Move a subscription to a position. Raises SubscriptionNotFound, PreconditionFailed, PositionNotFound."""
    subscribed = stored_subscription(command, unit)
    command.precondition.check(subscribed.row.version)
    after = checked_position(command.position - 1, command, unit)
    subscription = Subscription.of(command.subscription, subscribed.row)
    subscription.move(after, by=command.attribution(clock()))
    subscribed = save(unit, subscription, subscribed.sealed, after)
    return to_answer(command, Outcome.CHANGED, subscribed, unit)


def change_subscription_status(
    command: ChangeSubscriptionStatus, unit: UnitOfWork, *, clock: Clock
) -> Answer:
    """Enable, pause or disable a subscription. Events that occur while it is disabled are never sent.

    Raises SubscriptionNotFound, PreconditionFailed.
    """
    subscribed = stored_subscription(command, unit)
    command.precondition.check(subscribed.row.version)
    if command.version in (None, subscribed.row.version):
        was_disabled = subscribed.row.status is Status.DISABLED
        subscription = Subscription.of(command.subscription, subscribed.row)
        subscription.change_status(command.status, by=command.attribution(clock()))
        position = ledger_size(unit, subscribed.row.client_ext_id) if was_disabled else None
        announced = command.announced and subscribed.row.terms.method is not Method.WEBHOOK
        notice = stream_updated_notice(command.status, command.reason) if announced else ""
        subscribed = save(unit, subscription, subscribed.sealed, position, notice)
    return to_answer(command, Outcome.CHANGED, subscribed, unit)
