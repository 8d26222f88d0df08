"""The real command line, but that it kills itself (SIGKILL) at a point that a request's comment names."""

import os
import signal
from typing import Any, NoReturn

from application.delivery.deliver_tickets import NotDelivered
from application.transaction.records import Changes
from interface import main
from interface.composition import service
from interface.outbound.mail.couriers import MailSpool

BEFORE_COMMIT = "crash before commit"
AFTER_COMMIT = "crash after commit"
NO_DELIVERY = "TICKETS_TEST_NO_DELIVERY"


def die() -> NoReturn:
    """End this process as a power cut would, and its whole group with it."""
    os.killpg(0, signal.SIGKILL)
    raise AssertionError


def open_crashing_store(*arguments: Any) -> Any:
    """Return the real store with a crash before or after the commit of a marked command."""
    store = open_store(*arguments)
    commit = store.commit

    def commit_and_crash(changes: Changes) -> None:
        reasons = {event.reason for event in changes.events}
        if BEFORE_COMMIT in reasons:
            die()
        commit(changes)
        if AFTER_COMMIT in reasons:
            die()

    store.commit = commit_and_crash  # type: ignore[method-assign]
    return store


async def refuse_to_deliver(*_: object) -> NoReturn:
    """Stand for a spool that is not reached before the crash."""
    raise NotDelivered("the test lets nothing out", "test")


open_store = service.open_store
service.open_store = open_crashing_store  # type: ignore[assignment]
if NO_DELIVERY in os.environ:
    MailSpool.send = refuse_to_deliver  # type: ignore[method-assign, assignment]

if __name__ == "__main__":
    main.main()
