"""Replay: fold every stream anew, and compare that with the read model, the ledger and what was signed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from uuid import UUID

from application.checkpoint import Verifier
from application.command import Subject
from application.eras import Era
from application.ledger import TILE, Checkpoint, Ledger, LedgerEntry, leaf_of
from application.merkle import Frontier
from application.projection import TicketRow, fold
from domain.ticket_credential import stream_id

PAGE = 2_000
_FIRST, _BEHIND = UUID(int=0), UUID(int=2**128 - 1)


@dataclass
class Findings:
    """How much was looked at, and what differs: one text each, which names the place.

    lost: what was signed, and was lost when the store was restored from a backup.
    """

    events: int = 0
    credentials: int = 0
    checkpoints: int = 0
    faults: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def add(self, other: "Findings") -> None:
        """Take over the findings of another part."""
        self.events += other.events
        self.credentials += other.credentials
        self.checkpoints += other.checkpoints
        self.faults.extend(other.faults)
        self.lost.extend(other.lost)


def stream_ranges(parts: int) -> list[tuple[UUID, UUID]]:
    """Cut all possible streams into so many ranges of the same width; each goes up to, and with, its end."""
    width = 2**128 // parts
    ends = [UUID(int=width * number - 1) for number in range(1, parts)] + [_BEHIND]
    begins = [_FIRST, *(UUID(int=end.int + 1) for end in ends[:-1])]
    return list(zip(begins, ends, strict=True))


def check_streams(client_ext_id: str, begin: UUID, end: UUID, *, ledger: Ledger) -> Findings:
    """Check the streams of a client in a range: each event against its leaf, each credential against its row.

    In constant memory. Raises StoreUnavailable.
    """
    findings = Findings()
    expected: list[TicketRow] = []
    entries = _entries(client_ext_id, begin, end, ledger)
    for stream, group in groupby(entries, key=lambda entry: entry.stream):
        row = _check_stream(stream, group, findings, ledger)
        if row is not None:
            findings.credentials += 1
            expected.append(row)
        if len(expected) >= PAGE:
            _compare(expected, findings, ledger)
            expected = []
    _compare(expected, findings, ledger)
    return findings


def _entries(client_ext_id: str, begin: UUID, end: UUID, ledger: Ledger) -> Iterator[LedgerEntry]:
    stream, version = begin, -1
    while page := ledger.entries_by_stream(client_ext_id, stream, version, end, PAGE):
        yield from page
        stream, version = page[-1].stream, page[-1].version


def _check_stream(
    stream: UUID, entries: Iterator[LedgerEntry], findings: Findings, ledger: Ledger
) -> TicketRow | None:
    row: TicketRow | None = None
    broken, version = False, 0
    for entry in entries:
        findings.events += 1
        version += 1
        place = f"client {entry.client_ext_id!r}, position {entry.position}, stream {stream}, version {entry.version}"
        if entry.version != version:
            findings.faults.append(f"{place}: version {version} is missing from the ledger")
            broken, version = True, entry.version
        if not entry.state:
            findings.faults.append(f"{place}: the event is missing")
            broken = True
            continue
        key = (entry.client_ext_id, entry.position, stream, entry.version, entry.topic)
        if leaf_of(*key, entry.state) != entry.leaf:
            findings.faults.append(f"{place}: the event is not the one in the ledger")
            broken = True
        if broken or stream != stream_id(entry.client_ext_id, entry.user_ext_id):
            continue
        try:
            row = fold(row, [ledger.event(entry)])
        except (ValueError, AttributeError, TypeError) as error:
            findings.faults.append(f"{place}: the event cannot be replayed: {error}")
            broken = True
    return None if broken else row


def _compare(expected: Sequence[TicketRow], findings: Findings, ledger: Ledger) -> None:
    for subject in ledger.differing_rows(expected):
        findings.faults.append(f"{_who(subject)}: the read row is not what its events lead to")


def check_ledger(
    client_ext_id: str, *, ledger: Ledger, verifier: Verifier, outside: Sequence[Checkpoint] = ()
) -> Findings:
    """Check the positions of a client, its tree, and every checkpoint that was signed.

    outside: checkpoints that were kept out of the operator's reach. Raises StoreUnavailable.
    """
    findings = Findings()
    signed = _signed(client_ext_id, ledger, verifier, outside, findings)
    # The store's own checkpoints were put back with it, so that only others can know more.
    losses = _Losses(client_ext_id, ledger, outside, findings)
    tree, tile, position = Frontier(), Frontier(), 0
    tiles = iter(_tiles(client_ext_id, ledger))
    while page := ledger.positions(client_ext_id, position, PAGE):
        for found, leaf in page:
            position += 1
            if found != position:
                findings.faults.append(f"client {client_ext_id!r}: position {position} is missing")
                return findings
            tree.add(leaf)
            tile.add(leaf)
            if tile.size == TILE:
                if next(tiles, tile.root()) != tile.root():
                    findings.faults.append(
                        f"client {client_ext_id!r}: the tile that ends at {position} differs"
                    )
                tile = Frontier()
            for checkpoint in signed.pop(position, ()):
                if checkpoint.root != tree.root():
                    losses.note(checkpoint, f"the first {position} entries are not those that were signed")
    for size in sorted(signed):
        losses.note(signed[size][0], f"{size} entries were signed, but the ledger has only {position}")
    losses.tell()
    if ledger.size(client_ext_id) != position:
        findings.faults.append(
            f"client {client_ext_id!r}: its size is noted wrong, there are {position} entries"
        )
    return findings


class _Losses:
    """Tells what a restore of the store has lost from what somebody changed, by checkpoints from outside of it."""

    def __init__(
        self, client_ext_id: str, ledger: Ledger, outside: Sequence[Checkpoint], findings: Findings
    ) -> None:
        self._client = f"client {client_ext_id!r}"
        self._eras = ledger.eras(client_ext_id)
        self._outside = outside
        self._findings = findings
        self._sizes: dict[Era, set[int]] = {}

    def note(self, checkpoint: Checkpoint, fault: str) -> None:
        """Take down a checkpoint that the ledger does not fit."""
        cut = self._eras.cut_before(checkpoint.size)
        if cut and checkpoint in self._outside:
            self._sizes.setdefault(cut, set()).add(checkpoint.size)
        else:
            self._findings.faults.append(f"{self._client}: {fault}")

    def tell(self) -> None:
        """Say what was lost."""
        for era, sizes in self._sizes.items():
            self._findings.lost.append(
                f"{self._client}: the store was restored on {era.began} to position {era.after} of this ledger, and is older than"
                f" what was signed: {max(sizes)} entries were, and what stood behind position {era.after} is lost (it is shown by"
                f" the checkpoints from elsewhere of {', '.join(map(str, sorted(sizes)))} entries)"
            )


def _signed(
    client_ext_id: str,
    ledger: Ledger,
    verifier: Verifier,
    outside: Sequence[Checkpoint],
    findings: Findings,
) -> dict[int, list[Checkpoint]]:
    signed: dict[int, list[Checkpoint]] = {}
    kept: list[Checkpoint] = []
    size = 0
    while page := ledger.checkpoints(client_ext_id, size, PAGE):
        kept.extend(page)
        size = page[-1].size
    for checkpoint in [*kept, *outside]:
        findings.checkpoints += 1
        if verifier.verify(checkpoint):
            signed.setdefault(checkpoint.size, []).append(checkpoint)
        else:
            findings.faults.append(
                f"client {client_ext_id!r}: the checkpoint of {checkpoint.size} entries is not signed by a key of ours"
            )
    return signed


def _tiles(client_ext_id: str, ledger: Ledger) -> Iterator[bytes]:
    begin = 0
    while page := ledger.tiles(client_ext_id, begin, begin + PAGE):
        yield from page
        begin += len(page)


def rebuild(client_ext_id: str, begin: UUID, end: UUID, *, ledger: Ledger) -> int:
    """Make the read rows of a range of streams anew from their events. Returns how many.

    While the service goes on: a row that is newer meanwhile stays. Raises StoreUnavailable.
    """
    rows: list[TicketRow] = []
    count = 0
    for stream, entries in groupby(
        _entries(client_ext_id, begin, end, ledger), key=lambda entry: entry.stream
    ):
        row: TicketRow | None = None
        for entry in entries:
            if stream == stream_id(entry.client_ext_id, entry.user_ext_id):
                row = fold(row, [ledger.event(entry)])
        if row is not None:
            rows.append(row)
            count += 1
        if len(rows) >= PAGE:
            ledger.rewrite_rows(rows)
            rows = []
    ledger.rewrite_rows(rows)
    return count


def _who(subject: Subject) -> str:
    return f"client {subject.client_ext_id!r}, user {subject.user_ext_id!r}"
