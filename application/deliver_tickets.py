"""Deliver the tickets that wait in the outbox."""

import logging
import threading

from application.errors import Unavailable
from application.ports import Delivery, Outbox, OutboxEntry, Sealer
from application.recipient import Recipient

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
        delivery.deliver(sealer.unseal(entry.sealed, bound_to=entry.delivery_id), recipient, entry)
    except Exception as error:  # noqa: BLE001 - whatever it is, it holds up this ticket only
        log.warning("ticket %s is not delivered yet: %s: %s", entry.delivery_id, type(error).__name__, error)
        return False
    return True


class DeliveryWorker:
    """Runs `deliver_tickets` in a thread: at the start, whenever it is woken, and every few seconds.

    The regular look is what delivers the tickets of a process that crashed between commit and delivery.
    """

    def __init__(
        self, *, outbox: Outbox, sealer: Sealer, delivery: Delivery, every_seconds: float = 5
    ) -> None:
        self._outbox, self._sealer, self._delivery = outbox, sealer, delivery
        self._every_seconds = every_seconds
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look into the outbox now. Returns at once."""
        self._wake.set()

    def close(self) -> None:
        """Look a last time, then stop."""
        self._closing = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            last_look = self._closing
            self._wake.clear()
            try:
                deliver_tickets(outbox=self._outbox, sealer=self._sealer, delivery=self._delivery)
            except Unavailable as error:
                log.warning("the outbox is out of reach, tickets wait: %s", error)
            except Exception:
                log.exception("delivery failed, tickets wait")
            if last_look:
                return
            self._wake.wait(self._every_seconds)
