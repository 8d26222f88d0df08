"""The real command line that kills itself (SIGKILL) at the point in a request's comment."""

import os
import signal
from functools import partial
from typing import Any, NoReturn

from application.delivery.courier import NotDelivered
from application.transaction.records import Changes
from interface import main
from interface.composition import service
from interface.outbound.mail.couriers import MailSpool
from tests.support.commits import around_commits

BEFORE_COMMIT = "crash before commit"
AFTER_COMMIT = "crash after commit"
NO_DELIVERY = "TICKETS_TEST_NO_DELIVERY"


def die() -> NoReturn:
    """Kill this process and its process group, like a power cut."""
    os.killpg(0, signal.SIGKILL)
    raise AssertionError


def open_crashing_store(*arguments: Any) -> Any:
    """Return the real store with a crash before or after the commit of a marked command."""
    store = open_store(*arguments)

    def crash_if(marker: str, changes: Changes) -> None:
        if marker in {event.reason for event in changes.events}:
            die()

    around_commits(store, before=partial(crash_if, BEFORE_COMMIT), after=partial(crash_if, AFTER_COMMIT))
    return store


async def refuse_to_deliver(*_: object) -> NoReturn:
    """Replace a spool that is not reached before the crash."""
    raise NotDelivered("the test lets nothing out", "test")


open_store = service.open_store
service.open_store = open_crashing_store  # type: ignore[assignment]
if NO_DELIVERY in os.environ:
    MailSpool.send = refuse_to_deliver  # type: ignore[method-assign, assignment]

if __name__ == "__main__":
    main.main()
