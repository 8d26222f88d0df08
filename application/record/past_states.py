"""The states at the ends of pages of histories, kept in memory, so that the next page does not fold the events before."""

from collections import OrderedDict
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
MAX_STATES = 1_000


class Fold(NamedTuple):
    """The fold of a credential's events up to a version. commented: the version of the event with the comment; 0: none.

    leaf: of that version; it differs in a ledger that was restored.
    """

    version: int = 0
    leaf: bytes = b""
    state: TicketState | None = None
    commented: int = 0

    def after(self, entry: LedgerEntry, event: Event, state: TicketState) -> "Fold":
        """Return the fold with the next event, which leads to this state."""
        commented = self.commented if state.modification_comment else 0
        if event.reason and event.reason == state.modification_comment:
            commented = entry.version
        return Fold(entry.version, entry.leaf, state, commented)


class PastStates:
    """Keeps the newest folds up to a number. A kept fold has no comment, since a comment can be erased."""

    def __init__(self, max_states: int = MAX_STATES) -> None:
        self._max_states = max_states
        self._lock = Lock()
        self._folds: OrderedDict[tuple[UUID, int], Fold] = OrderedDict()

    def keep(self, subject: Subject, fold: Fold) -> None:
        """Keep a fold; the one that was not used for longest is dropped."""
        if fold.state is None:
            return
        with self._lock:
            without_comment = replace(fold.state, modification_comment=None)
            self._folds[stream_id(*subject), fold.version] = fold._replace(state=without_comment)
            if len(self._folds) > self._max_states:
                self._folds.popitem(last=False)

    def at(self, subject: Subject, version: int, ledger: Ledger) -> Fold:
        """Return the fold up to a version; an empty one if it is not kept, or the ledger was restored."""
        stream = stream_id(*subject)
        with self._lock:
            fold = self._folds.get((stream, version))
            if fold is None or fold.state is None:
                return Fold()
            self._folds.move_to_end((stream, version))
        entries = ledger.entries_of(subject, stream, version - 1, 1)
        if [(entry.version, entry.leaf) for entry in entries] != [(version, fold.leaf)]:
            return Fold()
        if not fold.commented:
            return fold
        [entry] = ledger.entries_of(subject, stream, fold.commented - 1, 1)
        return fold._replace(state=replace(fold.state, modification_comment=ledger.event(entry).reason))
