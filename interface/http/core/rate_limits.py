"""Rate limits of writes, per caller, client and credential.

Counted in memory; each process counts separately.
"""

import math
import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter

from domain.shared.subject import Subject
from interface.http.core.problems import TooManyRequests

OFF = "off"
# Smaller steps are normal corrections of a clock.
_CLOCK_STEP_SECONDS = 1


class RateLimits:
    """Three limits, each such as `600/minute`, or `off`. Raises ValueError for any other text."""

    def __init__(self, *, per_caller: str, per_client: str, per_credential: str) -> None:
        self._storage = MemoryStorage()
        # The exact window keeps the time of each request, the other one two counts for any limit.
        exact, counted = (
            MovingWindowRateLimiter(self._storage),
            SlidingWindowCounterRateLimiter(self._storage),
        )
        self._per_caller = _Limit("caller", per_caller, counted)
        self._per_client = _Limit("client", per_client, counted)
        self._per_credential = _Limit("credential", per_credential, exact)
        self._counted_at = 0.0

    def count(self, actor: str, subject: Subject) -> None:
        """Count one write; of a credential only if it names a user. Raises TooManyRequests with the time to retry."""
        self._forget_the_future()
        self._per_caller.count(actor)
        self._per_client.count(subject.client_ext_id)
        if subject.user_ext_id:
            self._per_credential.count(*subject)

    def _forget_the_future(self) -> None:
        """Reset the counters if the clock was set back: the old ones would block callers until that time is reached again."""
        now = time.time()
        if now < self._counted_at - _CLOCK_STEP_SECONDS:
            self._storage.reset()
        self._counted_at = now


class _Limit:
    """A limit of the writes for one caller, client or credential."""

    def __init__(self, kind: str, text: str, limiter: RateLimiter) -> None:
        self._kind, self._limit, self._limiter = kind, parse_limit(text), limiter

    def count(self, *named: str) -> None:
        """Count one write. Raises TooManyRequests."""
        limit = self._limit
        if limit is None or self._limiter.hit(limit, self._kind, *named):
            return
        until = self._limiter.get_window_stats(limit, self._kind, *named).reset_time
        raise TooManyRequests(
            f"At most {limit.amount} writes per {limit.get_expiry()} s for one {self._kind}"
            f" (TICKETS_RATE_LIMIT_PER_{self._kind.upper()}). Retry later.",
            max(1, math.ceil(until - time.time())),
        )


def parse_limit(text: str) -> RateLimitItem | None:
    """Return the limit, or None for `off`. Raises ValueError for any other text."""
    if text == OFF:
        return None
    limit = parse(text)
    if limit.amount < 1:
        raise ValueError("must allow at least one")
    return limit
