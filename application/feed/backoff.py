"""Delays between attempts to reach a broker or the store."""

import asyncio
import logging

from application.shared.ports import Randomness
from application.shared.waiting import is_set_within

_MIN_DELAY_MS = 500
_MAX_DELAY_MS = 30_000

log = logging.getLogger(__name__)


class Backoff:
    """Exponential back-off with jitter, interruptible by `stop`."""

    def __init__(self, stop: asyncio.Event, randomness: Randomness) -> None:
        self.stop = stop
        self._randomness = randomness
        self._failures = 0

    def reset(self) -> None:
        """Return to the shortest delay."""
        self._failures = 0

    async def wait(self, error: Exception) -> None:
        """Log the error and wait for the next delay."""
        longest = min(_MAX_DELAY_MS, _MIN_DELAY_MS << self._failures)
        seconds = (longest - self._randomness.below(longest // 2)) / 1000
        self._failures = min(self._failures + 1, _MAX_DELAY_MS.bit_length())
        log.warning("%s; retrying in %.1f s", error, seconds)
        await self.pause(seconds)

    async def pause(self, seconds: float) -> None:
        """Wait, or return early when `stop` is set."""
        await is_set_within(self.stop, seconds)
