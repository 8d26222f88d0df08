"""Deliver the tickets that wait in the outbox."""

import logging

from application.ports import Delivery, Outbox, OutboxEntry, Sealer
from application.recipient import Recipient
from domain.ticket import ClearTicket

PAGE = 256

log = logging.getLogger(__name__)


def deliver_tickets(*, outbox: Outbox, sealer: Sealer, delivery: Delivery) -> int:
    """Deliver every ticket that waits, and return how many were.

    At least once: the sealed ticket goes only after its delivery is safe, so a crash between the two delivers
    the same ticket again, under the same delivery id. One that fails stays for the next time and holds up no
    other. Raises StoreUnavailable.
    """
    delivered = 0
    last: OutboxEntry | None = None
    while page := outbox.pending(last, PAGE):
        done = [entry for entry, recipient in page if _deliver(entry, recipient, sealer, delivery)]
        outbox.remove(done)
        delivered += len(done)
        last = page[-1][0]
    return delivered


def _deliver(entry: OutboxEntry, recipient: Recipient | None, sealer: Sealer, delivery: Delivery) -> bool:
    if recipient is None:
        return True  # erased meanwhile: nobody is left to whom this ticket may go
    try:
        ticket = ClearTicket(sealer.unseal(entry.sealed, bound_to=entry.delivery_id).reveal())
        delivery.deliver(ticket, recipient, entry)
    except Exception as error:  # noqa: BLE001 - whatever it is, it holds up this ticket only
        log.warning("ticket %s is not delivered yet: %s: %s", entry.delivery_id, type(error).__name__, error)
        return False
    return True
