"""Whether a commit may run on the event loop: it holds the loop, but a thread costs a lone command more than its statements."""

# The mean that is worth a thread, and the duration that the loop must not be held.
_MEAN_SECONDS = 0.002
_MOST_SECONDS = 0.004
_WEIGHT = 1 / 16
# After a slow commit on the loop, this many run in the thread: at most one in a thousand holds the loop longer.
_IN_THREAD_AFTER_SLOW = 1000
_IN_THREAD_AT_START = 16


class CommitPace:
    """A running estimate of the duration of small commits, on the loop or in the thread."""

    def __init__(self) -> None:
        self._mean = 0.0
        self._in_thread = _IN_THREAD_AT_START

    @property
    def is_fast(self) -> bool:
        """Whether the next small commit may run on the event loop."""
        return not self._in_thread and self._mean < _MEAN_SECONDS

    def observe(self, seconds: float) -> None:
        """Include the duration of a small commit."""
        held_loop = self.is_fast
        self._mean += (seconds - self._mean) * _WEIGHT
        if held_loop and seconds > _MOST_SECONDS:
            self._in_thread = _IN_THREAD_AFTER_SLOW
        elif self._in_thread:
            self._in_thread -= 1
