"""The limit of exports that run at the same time."""

from collections import Counter
from threading import Lock

from interface.http.core.problems import TooManyRequests

MOST = 4
MOST_OF_ALL = 8
_RETRY_AFTER_SECONDS = 5


class ExportLimit:
    """Bounds the exports that this process makes or sends at the same time, and so their temporary files.

    most: of one client; most_of_all: of all clients.
    """

    def __init__(self, most: int = MOST, most_of_all: int = MOST_OF_ALL) -> None:
        self._most, self._most_of_all = most, most_of_all
        self._running = Counter[str]()
        self._lock = Lock()

    def begin(self, client_ext_id: str) -> None:
        """Count an export. Raises TooManyRequests."""
        with self._lock:
            if self._running[client_ext_id] >= self._most:
                raise TooManyRequests(
                    f"At most {self._most} exports of evidence of one client run at the same time.",
                    _RETRY_AFTER_SECONDS,
                )
            if self._running.total() >= self._most_of_all:
                raise TooManyRequests(
                    f"At most {self._most_of_all} exports of evidence run at the same time.",
                    _RETRY_AFTER_SECONDS,
                )
            self._running[client_ext_id] += 1

    def end(self, client_ext_id: str) -> None:
        """Count the end of an export."""
        with self._lock:
            self._running[client_ext_id] -= 1
            if not self._running[client_ext_id]:
                del self._running[client_ext_id]
