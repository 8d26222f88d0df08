"""The ledger of an installation: maintenance of a store is recorded in that store (ADR 20)."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol, cast

import msgspec
from msgspec.structs import asdict

from application.record.ledger import Ledger
from application.record.streams import column_date
from application.shared.errors import Conflict, StoreUnavailable
from application.transaction.records import Changes, RecordSet
from application.transaction.store import Store
from domain.record.installation import (
    INSTALLATION,
    INSTALLATION_STREAM,
    InstallationEvent,
    RecordChecked,
    StoreRestored,
)
from domain.shared.attribution import Attribution

# A conflict means that another process has recorded maintenance.
_ATTEMPTS = 50
_END = 2**62


class EraRow(NamedTuple):
    """A restore. number: 2 for the first one. began: the time as text."""

    number: int
    name: str
    began: str


class CutKey(NamedTuple):
    """The client and the number of an era; the row is the size of the client's ledger when the era began."""

    client_ext_id: str
    number: int


ERAS = RecordSet[int, EraRow]("eras")
ERA_CUTS = RecordSet[CutKey, int]("era_cuts")


class RecordStore(Store, Ledger, Protocol):
    """A store with its ledgers and eras. Every method raises StoreUnavailable."""

    def era_rows(self) -> Sequence[tuple[EraRow, str]]:
        """Return each era after the first one by number, with the digest of its cuts."""


def cuts_digest(cuts: Iterable[tuple[str, int]]) -> str:
    """Return the digest of the sizes of ledgers, sorted by client: hex SHA-256 of a line of JSON for each."""
    digest = hashlib.sha256()
    for cut in cuts:
        digest.update(msgspec.json.encode(cut) + b"\n")
    return digest.hexdigest()


@dataclass(frozen=True)
class Installation:
    """Records the maintenance of a store. attribution: returns that of the next event."""

    store: RecordStore
    attribution: Callable[[], Attribution]

    def note(self, kind: type[InstallationEvent], **fields: Any) -> None:
        """Record an event. Raises StoreUnavailable."""
        self._commit(kind, fields, self.attribution(), Changes())

    def begin_era(self, name: str) -> None:
        """Record that the store was restored to its current state; the event is the first of the era.

        No process may write meanwhile. Raises StoreUnavailable.
        """
        by, rows = self.attribution(), Changes()
        number = max((row.number for row, _ in self.store.era_rows()), default=1) + 1
        era = EraRow(number, name, column_date(by.timestamp))
        rows.put(ERAS, number, None, era)
        cuts = sorted((client, size) for client, size in self.store.sizes() if size)
        for client, size in cuts:
            rows.put(ERA_CUTS, CutKey(client, number), None, size)
        self._commit(StoreRestored, _restored(era, cuts_digest(cuts)), by, rows)

    def _commit(
        self, kind: type[InstallationEvent], fields: dict[str, Any], by: Attribution, rows: Changes
    ) -> None:
        for _ in range(_ATTEMPTS):
            version = self.store.version_of(INSTALLATION.client_ext_id, INSTALLATION_STREAM)
            # Earlier releases did not record restores.
            earlier = [] if version else [_restored(*found) for found in self.store.era_rows()]
            wanted = [*((StoreRestored, restored) for restored in earlier), (kind, fields)]
            events = [
                event(originator_id=INSTALLATION_STREAM, originator_version=number, **values, **asdict(by))
                for number, (event, values) in enumerate(wanted, start=version + 1)
            ]
            changes = Changes(rows=rows.rows)
            changes.append(events, INSTALLATION)
            try:
                self.store.commit(changes)
            except Conflict:
                continue
            return
        raise StoreUnavailable("too many concurrent updates")


def _restored(era: EraRow, cuts: str) -> dict[str, Any]:
    return {"number": era.number, "era": era.name, "began": era.began, "cuts": cuts}


def newest_check(ledger: Ledger) -> RecordChecked | None:
    """Return the newest check of the record; None: there was none, or its event is damaged. Raises StoreUnavailable."""
    client = INSTALLATION.client_ext_id
    position = ledger.newest_of_topics(client, [RecordChecked.TOPIC], _END)
    entries = ledger.entries(client, position - 1, 1) if position else []
    with suppress(ValueError):
        return cast("RecordChecked", ledger.event(entries[0])) if entries else None
    return None


def is_recent(checked: RecordChecked | None, now: datetime, every: timedelta) -> bool:
    """Return whether the newest check is younger than `every`; one from the future is not: the clock was set back."""
    return checked is not None and timedelta() <= now - checked.timestamp < every
