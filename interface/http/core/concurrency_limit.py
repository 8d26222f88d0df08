"""Limits of the requests that a process answers at the same time, and so of the memory and the files that they need."""

from collections import Counter
from threading import Lock

from interface.http.core.problems import TooManyRequests


class ConcurrencyLimit:
    """Bounds the requests of a kind, from their begin until their response is sent.

    kind: for messages. per_client, per_caller, of_all: of one client, of one caller over all clients, and of all; None: no
    limit. setting: the beginning of the names of the settings; empty: the limits are fixed.
    """

    def __init__(
        self,
        kind: str,
        *,
        per_client: int,
        per_caller: int | None = None,
        of_all: int | None = None,
        setting: str = "",
        retry_after_seconds: int = 1,
    ) -> None:
        self._kind, self._setting, self._retry_after_seconds = kind, setting, retry_after_seconds
        self._limits = {"client": per_client, "caller": per_caller, "": of_all}
        self._running = Counter[tuple[str, str]]()
        self._lock = Lock()

    def begin(self, client_ext_id: str, actor: str = "") -> None:
        """Count a request. Raises TooManyRequests."""
        keys = _keys(client_ext_id, actor)
        with self._lock:
            for key in keys:
                most = self._limits[key[0]]
                if most is not None and self._running[key] >= most:
                    raise TooManyRequests(self._message(key[0], most), self._retry_after_seconds)
            self._running.update(keys)

    def end(self, client_ext_id: str, actor: str = "") -> None:
        """Count the end of a request."""
        with self._lock:
            for key in _keys(client_ext_id, actor):
                self._running[key] -= 1
                if not self._running[key]:
                    del self._running[key]

    def _message(self, scope: str, most: int) -> str:
        of_scope = f" of one {scope}" if scope else ""
        setting = f" ({self._setting}_PER_{scope.upper()})" if self._setting and scope else ""
        return (
            f"At most {most} {self._kind}{of_scope} run at the same time in a process{setting}. Retry later."
        )


def _keys(client_ext_id: str, actor: str) -> tuple[tuple[str, str], ...]:
    return ("client", client_ext_id), ("caller", actor), ("", "")
