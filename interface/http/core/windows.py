"""Counts of events in a sliding window, per key, in memory. For one thread.

The library `limits` counts in memory, too, but starts a thread every 10 ms, which visits every key: by one profile about a fifth
of the cost of a request (ADR 22). Here the keys of the window before the last one are forgotten when a window begins.
"""

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Kept = TypeVar("Kept")


class _Windows(Generic[Kept]):
    """Values by key, of the current and the previous window. Windows begin at multiples of their length."""

    def __init__(self, amount: int, seconds: int) -> None:
        self.amount, self.seconds = amount, seconds
        self._number = 0
        self._now, self._before = dict[Hashable, Kept](), dict[Hashable, Kept]()

    def reset(self) -> None:
        """Forget all keys."""
        self._number, self._now, self._before = 0, {}, {}

    def _turn(self, now: float) -> None:
        """Begin the window of this time, unless it has begun."""
        number = int(now // self.seconds)
        if number > self._number:
            self._before = self._now if number == self._number + 1 else {}
            self._number, self._now = number, {}


class CountedWindow(_Windows[int]):
    """Two counts for each key: the previous window counts by its part that the sliding window still covers."""

    def hit(self, key: Hashable, now: float) -> bool:
        """Count an event at this Unix time; False: the window is full, and the event is not counted."""
        self._turn(now)
        count = self._now.get(key, 0)
        if int(self._before.get(key, 0) * self._left(now) + count) >= self.amount:
            return False
        self._now[key] = count + 1
        return True

    def frees_at(self, key: Hashable, now: float) -> float:
        """Return the time at which a full window has room for an event of the key, at the earliest."""
        before, count = self._before.get(key, 0), self._now.get(key, 0)
        left = self._left(now) * self.seconds
        # The previous window loses an event after each of these; the current one becomes the previous one at its end.
        waits = [left % (self.seconds / before)] if before else []
        return now + min([*waits, left] if count else waits, default=0)

    def _left(self, now: float) -> float:
        """Return the part of the previous window that the sliding window covers."""
        return 1 - max(0.0, now / self.seconds - self._number) % 1


class ExactWindow(_Windows[deque[float]]):
    """The time of each event."""

    def hit(self, key: Hashable, now: float) -> bool:
        """Count an event at this Unix time; False: the window is full, and the event is not counted."""
        self._turn(now)
        times = self._now.get(key)
        if times is None:
            times = self._now[key] = self._before.pop(key, deque())
        while times and times[0] < now - self.seconds:
            times.popleft()
        if len(times) >= self.amount:
            return False
        times.append(now)
        return True

    def frees_at(self, key: Hashable, now: float) -> float:
        """Return the time at which a full window has room for an event of the key."""
        return (self._now.get(key) or [now])[0] + self.seconds
