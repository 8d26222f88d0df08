"""The turn of a writer among the processes that share a SQLite file.

SQLite lets a waiting writer sleep for up to 100 ms between its attempts, so beside a busy process it can wait for seconds and fail.
Here a waiting writer asks every millisecond. And since all processes of the service take turns for checkpoints, too, they
never have the conditions of the fault of SQLite before 3.51.3 (ADR 21).

It is a lock of Linux (F_OFD_SETLK) on all bytes of the lock file that `sqlite_lock.share` opens, beside its flock(2). The kernel
releases it when the process ends, also by SIGKILL.
"""

import fcntl
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

_ASK_AGAIN_SECONDS = 0.001


def _flock(kind: int) -> bytes:
    """Return struct flock of Linux: type, whence, start, length (0: all), pid."""
    return struct.pack("hhqqi4x", kind, 0, 0, 0, 0)


_LOCK, _UNLOCK = _flock(fcntl.F_WRLCK), _flock(fcntl.F_UNLCK)


class WriterTurn:
    """The turn of this process. descriptor: of `sqlite_lock.share`. One thread at a time may use it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def take(self) -> bool:
        """Take the turn unless another process has it; it must then be passed on. Never waits. Raises OSError."""
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _LOCK)
        except BlockingIOError:
            return False
        return True

    def pass_on(self) -> None:
        """Let another process write. Raises OSError."""
        fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _UNLOCK)

    @contextmanager
    def taken(self, timeout_seconds: float) -> Iterator[None]:
        """Have the turn. Raises TimeoutError, OSError."""
        if not self.take():
            give_up = time.monotonic() + timeout_seconds
            while not self.take():
                if time.monotonic() > give_up:
                    raise TimeoutError("timeout while waiting for the writer of another process")
                time.sleep(_ASK_AGAIN_SECONDS)
        try:
            yield
        finally:
            self.pass_on()
