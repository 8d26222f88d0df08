"""Past states of credentials, kept in memory, so that a page of a history or a past state folds few events before it."""

from collections import OrderedDict
from datetime import UTC, datetime
from threading import Lock
from typing import NamedTuple
from uuid import UUID

from msgspec.structs import replace

from application.record.ledger import Ledger, LedgerEntry
from domain.shared.event import Event
from domain.shared.subject import Subject
from domain.tickets.events import stream_id
from domain.tickets.state import TicketState

# About 2 KB each.
MAX_STATES = 2_000
# The events between two kept states: a past state folds fewer than these.
STEP = 200
_LATEST, _EARLIEST = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)


class Fold(NamedTuple):
    """The fold of a credential's events up to a version. commented: the version of the event with the comment; 0: none.

    leaf: of that version; it differs in a ledger that was restored. earliest: the earliest time of the events after the last
    multiple of STEP before the version. latest: the latest time of all events.
    """

    version: int = 0
    leaf: bytes = b""
    state: TicketState | None = None
    commented: int = 0
    earliest: datetime = _LATEST
    latest: datetime = _EARLIEST

    def after(self, entry: LedgerEntry, event: Event, state: TicketState) -> "Fold":
        """Return the fold with the next event, which leads to this state."""
        commented = self.commented if state.modification_comment else 0
        if event.reason and event.reason == state.modification_comment:
            commented = entry.version
        time = event.timestamp
        earliest = time if self.version % STEP == 0 or time < self.earliest else self.earliest
        return Fold(entry.version, entry.leaf, state, commented, earliest, max(time, self.latest))


class PastStates:
    """Keeps folds up to a number; those of the credential not used for longest are dropped first.

    A kept fold has no comment, since a comment can be erased.
    """

    def __init__(self, max_states: int = MAX_STATES) -> None:
        self._max_states = max_states
        self._lock = Lock()
        self._streams: OrderedDict[UUID, dict[int, Fold]] = OrderedDict()
        self._count = 0

    def keep(self, subject: Subject, fold: Fold) -> None:
        """Keep a fold."""
        if fold.state is None:
            return
        without_comment = replace(fold.state, modification_comment=None)
        with self._lock:
            folds = self._streams.setdefault(stream_id(*subject), {})
            self._count += fold.version not in folds
            folds[fold.version] = fold._replace(state=without_comment)
            while self._count > self._max_states:
                self._count -= len(self._streams.popitem(last=False)[1])

    def at(self, subject: Subject, version: int, ledger: Ledger) -> Fold:
        """Return the newest kept fold up to a version that is still in the ledger; otherwise an empty one."""
        stream = stream_id(*subject)
        while fold := self._newest(stream, version):
            entries = ledger.entries_of(subject, stream, fold.version - 1, 1)
            if [(entry.version, entry.leaf) for entry in entries] == [(fold.version, fold.leaf)]:
                return self._commented(subject, fold, ledger)
            with self._lock:
                self._count -= self._streams.get(stream, {}).pop(fold.version, None) is not None
        return Fold()

    def _newest(self, stream: UUID, version: int) -> Fold | None:
        with self._lock:
            folds = self._streams.get(stream, {})
            if found := max((known for known in folds if known <= version), default=None):
                self._streams.move_to_end(stream)
            return folds[found] if found else None

    @staticmethod
    def _commented(subject: Subject, fold: Fold, ledger: Ledger) -> Fold:
        if not fold.commented or fold.state is None:
            return fold
        [entry] = ledger.entries_of(subject, stream_id(*subject), fold.commented - 1, 1)
        return fold._replace(state=replace(fold.state, modification_comment=ledger.event(entry).reason))

    def earliest(self, subject: Subject, end: int) -> datetime | None:
        """Return the earliest time of the last STEP events up to `end`, a multiple of STEP; None: not known."""
        with self._lock:
            fold = self._streams.get(stream_id(*subject), {}).get(end)
        return fold and fold.earliest
