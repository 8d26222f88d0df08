"""The port of couriers, which deliver tickets by one method each."""

from typing import NamedTuple, Protocol

from application.delivery.outbox import PendingDelivery
from domain.policies.policy import SendingMethod
from domain.tickets.ticket import ClearTicket


class NotDelivered(Exception):
    """A delivery attempt failed. The helpdesk sees the message, so it contains no address.

    answer: the code of the receiving server or of this service. final: a retry with this method cannot succeed.
    """

    def __init__(self, message: str, answer: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.answer = answer
        self.final = final


class DeliveryAttempt(NamedTuple):
    """An observed delivery attempt. answer: the code. correlation_id: of the command that minted the ticket, if known."""

    method: SendingMethod
    answer: str
    delivered: bool
    seconds: float
    correlation_id: str | None


class Courier(Protocol):
    """Delivers tickets by one method."""

    async def deliver(self, ticket: ClearTicket, pending: PendingDelivery) -> str:
        """Deliver a ticket durably and return the code of the receiver. Raises NotDelivered.

        May be called again for the same ticket; the message then has the same identity.
        """
