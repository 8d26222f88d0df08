"""The base of the commands for subscriptions."""

from collections.abc import Sequence

from application.record.eras import PositionNotFound
from application.subscriptions.read_subscriptions import to_response
from application.subscriptions.records import (
    SUBSCRIPTIONS,
    StoredSubscription,
    ledger_size,
    not_found,
    subscriptions_of,
)
from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from application.transaction.records import Load
from application.transaction.unit_of_work import UnitOfWork
from domain.subscriptions.subscription import SubscriptionKey


class SubscriptionCommand(Command, frozen=True, kw_only=True):
    """A command about a subscription of the client."""

    name: str

    def loads(self) -> Sequence[Load]:
        """Return every subscription of the client, and the size of its ledger."""
        return subscriptions_of(self.subject.client_ext_id)

    @property
    def subscription(self) -> SubscriptionKey:
        """The identity of the subscription."""
        return SubscriptionKey(self.subject.client_ext_id, self.name)


def stored_subscription(command: SubscriptionCommand, unit: UnitOfWork) -> StoredSubscription:
    """Return the subscription of a command. Raises SubscriptionNotFound."""
    subscribed = unit.all(SUBSCRIPTIONS).get(command.subscription)
    if subscribed is None or subscribed.row.deleted:
        raise not_found(command.subscription)
    return subscribed


def checked_position(position: int, command: SubscriptionCommand, unit: UnitOfWork) -> int:
    """Return the position. Raises PositionNotFound if it is not in the ledger of the client."""
    size = ledger_size(unit, command.subject.client_ext_id)
    if position > size:
        raise PositionNotFound(f"The ledger of the client ends at position {size}.")
    return position


def to_answer(
    command: SubscriptionCommand, outcome: Outcome, subscribed: StoredSubscription, unit: UnitOfWork
) -> Answer:
    """Return the answer of a command that stored a subscription."""
    response = to_response(subscribed, ledger_size(unit, command.subject.client_ext_id))
    return command.done(outcome, subscribed.row.version, response)
