"""Report a clock that was set back."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from application.transaction.records import Changes

# Commands of one batch read the clock one after the other, and the clocks of two servers differ slightly.
_TOLERANCE = timedelta(seconds=5)

log = logging.getLogger(__name__)


class ClockWatch:
    """Compares the time of each commit with the newest event before it.

    newest: the time of the newest event; None: no event. observe: called for each jump with its length in seconds.
    """

    def __init__(self, newest: datetime | None = None) -> None:
        self.newest = newest
        self.observe: Callable[[int], None] = lambda _: None

    def __call__(self, changes: Changes) -> None:
        """Log and report a clock that is behind the newest event by more than 5 seconds, once per jump."""
        if not changes.events:
            return
        now = changes.events[-1].timestamp
        if self.newest is None or now >= self.newest:
            self.newest = now
        elif now < self.newest - _TOLERANCE:
            seconds = round((self.newest - now).total_seconds())
            log.warning("the clock is %d seconds behind the newest event: it was set back", seconds)
            self.newest = now
            self.observe(seconds)
