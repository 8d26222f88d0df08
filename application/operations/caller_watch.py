"""Report a caller that suddenly resets many tickets, is refused often, changes many addresses, or deletes many objects."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from application.record.access_log import READ
from application.transaction.records import Changes
from domain.record.access_log import AccessNoted
from domain.shared.event import Event
from domain.tickets.events import TicketDeleted, TicketRegenerated
from domain.users.user import UserChanged, UserErased

WINDOW = timedelta(hours=1)
# About 300 bytes each.
MAX_CALLERS = 10_000
_ADDRESSES = {"email", "postal_address"}

log = logging.getLogger(__name__)


class Activity(StrEnum):
    """The kinds of counted activities, the values of the metric's label."""

    RESETS = "resets"
    REFUSALS = "refusals"
    ADDRESS_CHANGES = "address-changes"
    # A creation after a deletion has the effect of a reset, and a registration after an erasure that of a changed address.
    DELETIONS = "deletions"


class _Caller(NamedTuple):
    activity: Activity
    client_ext_id: str
    actor: str


class CallerWatch:
    """Counts the committed activities of each caller and client within an hour, in memory.

    thresholds: the count at which an activity is reported, once per hour; 0: never. observe: called for each report; must
    not block. The callers that were not counted for longest are forgotten.
    """

    def __init__(
        self, thresholds: Mapping[Activity, int], observe: Callable[[Activity], None] = lambda _: None
    ) -> None:
        self._thresholds = thresholds
        self._observe = observe
        self._counts: OrderedDict[_Caller, tuple[datetime, int]] = OrderedDict()

    def __call__(self, changes: Changes) -> None:
        """Count the events of a commit."""
        for event, subject in zip(changes.events, changes.subjects, strict=True):
            activity, count = _activity(event)
            if activity:
                self._count(_Caller(activity, subject.client_ext_id, event.actor), event.timestamp, count)

    def _count(self, caller: _Caller, now: datetime, count: int) -> None:
        began, before = self._counts.pop(caller, (now, 0))
        if not began <= now < began + WINDOW:
            began, before = now, 0
        self._counts[caller] = began, before + count
        if len(self._counts) > MAX_CALLERS:
            self._counts.popitem(last=False)
        threshold = self._thresholds[caller.activity]
        if before < threshold <= before + count:
            what, client, actor = caller
            log.warning(
                "sudden %s: %d within an hour by caller %r in client %r", what, before + count, actor, client
            )
            self._observe(caller.activity)


def _activity(event: Event) -> tuple[Activity | None, int]:
    match event:
        case TicketRegenerated():
            return Activity.RESETS, 1
        case UserChanged() if _ADDRESSES.intersection(event.changed):
            return Activity.ADDRESS_CHANGES, 1
        case TicketDeleted() | UserErased():
            return Activity.DELETIONS, 1
        case AccessNoted() if event.outcome != READ:
            return Activity.REFUSALS, event.count
    return None, 0
