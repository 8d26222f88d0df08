"""Throttled warnings: each kind is logged immediately, and then rarely, with the number of suppressed ones."""

import logging
import time
from collections.abc import Callable

_AGAIN_AFTER_SECONDS = 10
_MOST_KINDS = 100


class ThrottledLogger:
    """Logs a warning immediately, and the same kind again after ten seconds at the earliest. For one thread."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        # By kind: the time of the last log entry, and the number of warnings suppressed since.
        self._logged: dict[str, tuple[float, int]] = {}

    def __call__(self, kind: str, text: str) -> None:
        """Log the warning, or count it."""
        now = self._clock()
        at, left_out = self._logged.get(kind, (None, 0))
        if at is not None and now - at < _AGAIN_AFTER_SECONDS:
            self._logged[kind] = at, left_out + 1
            return
        if len(self._logged) >= _MOST_KINDS:
            self._logged.clear()
        self._logged[kind] = now, 0
        self._log.warning(
            "%s%s", text, f" (and {left_out} times since it was last logged)" if left_out else ""
        )
