"""The rows that this process last read or wrote, so that a command on them needs no look-up (ADR 23).

They may be stale. A command that is decided on them is only answered if the commit has checked that they are unchanged.
They are loaded again after ten minutes: they contain personal data, and a failover can lose a policy whose version is then that
of another one.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from application.transaction.command import ANSWERS
from application.transaction.records import Load, LoadedState, RecordSet

_LIMIT = 4096
_MOST_SECONDS = 600


class KnownLoad(NamedTuple):
    """A load with all rows that it found, by key.

    stored: the stored form of its only row, which another release may have written; None: this process wrote it.
    until: when it must be loaded again, by the clock of KnownRows.
    """

    load: Load
    rows: Mapping[Any, Any]
    stored: tuple[Any, ...] | None = None
    until: float = 0


class KnownRows:
    """The newest known rows of the record sets that a commit can check.

    checkable: whether the commit detects also a row that is added to the rows of a load. limit: the maximum of loads.
    clock: monotonic, in seconds.
    """

    def __init__(
        self,
        checkable: Mapping[RecordSet[Any, Any], bool],
        limit: int = _LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checkable = checkable
        self._limit = limit
        self._clock = clock
        self._known: dict[Load, KnownLoad] = {}

    def find(self, loads: Sequence[Load]) -> list[KnownLoad] | None:
        """Return the known rows; None: some are not known. Stored answers are not required: the commit detects them."""
        found, now = [], self._clock()
        for load in loads:
            if load.records is ANSWERS:
                continue
            known = self._known.get(load)
            if known is None or known.until <= now:
                return None
            found.append(known)
        return found or None

    def keep(
        self, loads: Sequence[Load], loaded: LoadedState, known: Sequence[KnownLoad] | None = None
    ) -> None:
        """Keep the rows of these loads after a commit. known: those of which `loaded` was made; None: it was loaded now."""
        if loaded.has_refused:
            self.forget(loads)
            return
        now = self._clock()
        until = min(one.until for one in known) if known else now + _MOST_SECONDS
        for load in loads:
            if load.records not in self._checkable:
                continue
            self._known.pop(load, None)
            rows = loaded.all(load.records)
            if self._checkable[load.records]:
                length = len(load.prefix)
                found = {key: row for key, row in rows.items() if key[:length] == load.prefix}
                self._known[load] = KnownLoad(load, found, None, until)
            elif load.prefix in rows:
                stored = loaded.stored(load.records, load.prefix)
                self._known[load] = KnownLoad(load, {load.prefix: rows[load.prefix]}, stored, until)
        while self._known:
            oldest = next(iter(self._known.values()))
            if len(self._known) <= self._limit and oldest.until > now:
                break
            del self._known[oldest.load]

    def forget(self, loads: Sequence[Load]) -> None:
        """Forget the rows of these loads."""
        for load in loads:
            self._known.pop(load, None)


def state_of(known: Sequence[KnownLoad]) -> LoadedState:
    """Return the known rows as the state to decide on."""
    state = LoadedState()
    for load, rows, stored, _ in known:
        for key, row in rows.items():
            state.put(load.records, key, row, stored)
    return state
