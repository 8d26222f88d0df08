"""Rate limits of verifications and resets, per caller and per credential.

Counted in memory; each process counts separately.
"""

import math
import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from domain.shared.subject import Subject
from interface.http.core.problems import TooManyRequests

OFF = "off"
# Smaller steps are normal corrections of a clock.
_CLOCK_STEP_SECONDS = 1


class RateLimits:
    """Two limits, each such as `600/minute`, or `off`. Raises ValueError for any other text."""

    def __init__(self, *, per_caller: str, per_credential: str) -> None:
        self._per_caller = parse_limit(per_caller)
        self._per_credential = parse_limit(per_credential)
        self._storage = MemoryStorage()
        self._limiter = MovingWindowRateLimiter(self._storage)
        self._counted_at = 0.0

    def count(self, actor: str, subject: Subject) -> None:
        """Count one request. Raises TooManyRequests with the time to retry."""
        self._forget_the_future()
        for limit, key in (
            (self._per_caller, ("caller", actor)),
            (self._per_credential, ("credential", *subject)),
        ):
            if limit is not None and not self._limiter.hit(limit, *key):
                until = self._limiter.get_window_stats(limit, *key).reset_time
                raise TooManyRequests(
                    f"At most {limit.amount} of these requests per {limit.get_expiry()} s for one {key[0]}.",
                    max(1, math.ceil(until - time.time())),
                )

    def _forget_the_future(self) -> None:
        """Reset the counters if the clock was set back: the old ones would block callers until that time is reached again."""
        now = time.time()
        if now < self._counted_at - _CLOCK_STEP_SECONDS:
            self._storage.reset()
        self._counted_at = now


def parse_limit(text: str) -> RateLimitItem | None:
    """Return the limit, or None for `off`. Raises ValueError for any other text."""
    return None if text == OFF else parse(text)
