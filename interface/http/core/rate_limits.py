"""Rate limits of writes, per caller, client and credential.

Counted in memory; each process counts separately.
"""

import math
import time
from collections.abc import Hashable

from limits import RateLimitItem, parse

from domain.shared.subject import Subject
from interface.http.core.problems import TooManyRequests
from interface.http.core.windows import CountedWindow, ExactWindow

OFF = "off"
# Smaller steps are normal corrections of a clock.
_CLOCK_STEP_SECONDS = 1


class RateLimits:
    """Three limits, each such as `600/minute`, or `off`. Raises ValueError for any other text."""

    def __init__(self, *, per_caller: str, per_client: str, per_credential: str) -> None:
        # The exact window keeps the time of each request, the other one two counts for any limit.
        self._per_caller = _Limit("caller", per_caller, CountedWindow)
        self._per_client = _Limit("client", per_client, CountedWindow)
        self._per_credential = _Limit("credential", per_credential, ExactWindow)
        self._counted_at = 0.0

    def count(self, actor: str, subject: Subject) -> None:
        """Count one write; of a credential only if it names a user. Raises TooManyRequests with the time to retry."""
        now = time.time()
        if now < self._counted_at - _CLOCK_STEP_SECONDS:
            # The clock was set back. The old counts would block callers until that time is reached again.
            for limit in (self._per_caller, self._per_client, self._per_credential):
                limit.reset()
        self._counted_at = now
        self._per_caller.count(actor, now)
        self._per_client.count(subject.client_ext_id, now)
        if subject.user_ext_id:
            self._per_credential.count(subject, now)


class _Limit:
    """A limit of the writes for one caller, client or credential."""

    def __init__(self, kind: str, text: str, window: type[CountedWindow | ExactWindow]) -> None:
        self._kind, self._limit = kind, parse_limit(text)
        self._window = window(self._limit.amount, self._limit.get_expiry()) if self._limit else None

    def reset(self) -> None:
        """Forget all counts."""
        if self._window:
            self._window.reset()

    def count(self, key: Hashable, now: float) -> None:
        """Count one write. Raises TooManyRequests."""
        window = self._window
        if window is None or window.hit(key, now):
            return
        raise TooManyRequests(
            f"At most {window.amount} writes per {window.seconds} s for one {self._kind}"
            f" (TICKETS_RATE_LIMIT_PER_{self._kind.upper()}). Retry later.",
            max(1, math.ceil(window.frees_at(key, now) - now)),
        )


def parse_limit(text: str) -> RateLimitItem | None:
    """Return the limit, or None for `off`. Raises ValueError for any other text."""
    if text == OFF:
        return None
    limit = parse(text)
    if limit.amount < 1:
        raise ValueError("must allow at least one")
    return limit
