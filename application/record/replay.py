"""Replay every stream, and compare the result with the read model, the ledger and the checkpoints."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, islice
from operator import attrgetter
from typing import Any, NamedTuple, Protocol, get_args, get_type_hints
from uuid import UUID

from application.record.checkpoint import Verifier
from application.record.eras import Era
from application.record.ledger import TILE, Checkpoint, Ledger, LedgerBroken, LedgerEntry, leaf_of, matches
from application.record.merkle import Frontier
from application.record.streams import EVENTS, LedgerColumns, columns_of
from application.shared.errors import Unavailable
from application.transaction.records import CommittedRecords, DerivedRecords
from application.users.records import USERS, Users
from domain.shared.event import Event, Origin
from domain.shared.subject import Subject
from domain.users.user import UserErased, user_stream_id

PAGE = 2_000
# The fields with times of each event type.
_TIMES = {
    topic: [name for name, hint in get_type_hints(event).items() if datetime in (hint, *get_args(hint))]
    for topic, event in EVENTS.items()
}
UNRECORDED_LISTED = 100
WITHOUT_COMMITMENT = (
    ": the user has events, but the row has no commitment; release 1.0 or a writer to the database changed it"
)
# The length of a command id that is the digest of an Idempotency-Key; others are random and shorter.
_COMMAND_WITH_KEY = 64
_FIRST_STREAM, _LAST_STREAM = UUID(int=0), UUID(int=2**128 - 1)


@dataclass
class Findings:
    """The result of a check: the numbers of checked items, and one message per fault.

    rows: of the read model, each determined by the events of a stream. lost: one message per restore that removed signed
    entries. unrecorded: one message per row of release 1.0 that no event commits to yet, up to UNRECORDED_LISTED; not a
    fault.
    """

    entries: int = 0
    events: int = 0
    rows: int = 0
    checkpoints: int = 0
    faults: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)

    def add(self, other: "Findings") -> None:
        """Add the findings of another part."""
        self.entries += other.entries
        self.events += other.events
        self.rows += other.rows
        self.checkpoints += other.checkpoints
        self.faults.extend(other.faults)
        self.lost.extend(other.lost)
        self.unrecorded.extend(other.unrecorded)


def unless_unreadable(place: str, work: Callable[[], Findings]) -> Findings:
    """Return the findings of a part of the check; if a stored value stops it, the part is a fault. Raises Unavailable."""
    try:
        return work()
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - in a damaged store, a value can be anything
        return Findings(faults=[f"{place}: cannot be checked completely: {type(error).__name__}: {error}"])


def stream_ranges(parts: int) -> list[tuple[UUID, UUID]]:
    """Split the stream ids into ranges of equal width; both ends are inclusive."""
    width = 2**128 // parts
    ends = [UUID(int=width * number - 1) for number in range(1, parts)] + [_LAST_STREAM]
    begins = [_FIRST_STREAM, *(UUID(int=end.int + 1) for end in ends[:-1])]
    return list(zip(begins, ends, strict=True))


def check_streams(client_ext_id: str, begin: UUID, end: UUID, *, ledger: Ledger) -> Findings:
    """Check a range of streams: each event against its ledger entry, each replayed state against its row.

    Uses constant memory. Raises StoreUnavailable.
    """
    findings = Findings()
    answers = _Answers(client_ext_id, ledger, findings)
    replayed = _replayed(client_ext_id, begin, end, ledger, findings, answers.take)
    while page := list(islice(replayed, PAGE)):
        _compare(page, findings, ledger)
    answers.check()
    return findings


class _Answers:
    """Finds the events of requests with an Idempotency-Key whose answer is missing: answers are never deleted."""

    def __init__(self, client_ext_id: str, ledger: Ledger, findings: Findings) -> None:
        self._client_ext_id, self._ledger, self._findings = client_ext_id, ledger, findings
        self._positions: dict[str, int] = {}

    def take(self, event: Event, position: int) -> None:
        """Add an event."""
        if len(event.command_id) == _COMMAND_WITH_KEY:
            self._positions[event.command_id] = position
            if len(self._positions) == PAGE:
                self.check()

    def check(self) -> None:
        """Look for the answers to the events that were added."""
        ids = list(self._positions)
        for command_id in self._ledger.missing_answers(self._client_ext_id, ids) if ids else ():
            place = f"client {self._client_ext_id!r}, position {self._positions[command_id]}"
            self._findings.faults.append(f"{place}: the answer to command {command_id!r} is missing")
        self._positions.clear()


class _Replayed(NamedTuple):
    """The state that the events of a stream determine, and the record set of its row."""

    records: DerivedRecords[Any, Any]
    stream: UUID
    state: Any


class UserLedger(Users, Ledger, Protocol):
    """The users and the ledgers of a store."""


def unrecorded_rows(store: UserLedger) -> list[str]:
    """Return a message per row that no event commits to yet, up to UNRECORDED_LISTED. Raises StoreUnavailable."""
    messages = []
    for client, user in (row.subject for row in store.unrecorded_recipients(Subject(""), UNRECORDED_LISTED)):
        has_events = store.version_of(client, user_stream_id(client, user))
        messages.append(f"client {client!r}, {USERS.noun} {user!r}{WITHOUT_COMMITMENT if has_events else ''}")
    return messages


def _replayed(
    client_ext_id: str,
    begin: UUID,
    end: UUID,
    ledger: Ledger,
    findings: Findings,
    observe: Callable[[Event, int], None] = lambda *_: None,
) -> Iterator[_Replayed]:
    """Yield the state of each stream with a row whose events match the ledger; add the faults to the findings.

    observe: called with each event that can be decoded, and its position.
    """
    kinds = {records.aggregate.TOPIC: records for records in ledger.derived_records()}
    entries = _entries(client_ext_id, begin, end, ledger)
    for stream_id, group in groupby(entries, key=lambda found: found[0].stream):
        stream = _Stream(findings, ledger, kinds, observe)
        for entry, topic in group:
            stream.take(entry, topic)
        if stream.records and stream.state and stream.is_intact:
            findings.rows += 1
            yield _Replayed(stream.records, stream_id, stream.state)


def _by_records(page: Sequence[_Replayed]) -> Iterator[tuple[DerivedRecords[Any, Any], list[_Replayed]]]:
    by_name = attrgetter("records.name")
    for _, group in groupby(sorted(page, key=by_name), key=by_name):
        found = list(group)
        yield found[0].records, found


def _entries(client_ext_id: str, begin: UUID, end: UUID, ledger: Ledger) -> Iterator[tuple[LedgerEntry, str]]:
    stream, version = begin, -1
    while page := ledger.entries_by_stream(client_ext_id, stream, version, end, PAGE):
        yield from page
        stream, version = page[-1][0].stream, page[-1][0].version


class _Stream:
    """The replay of one stream.

    kinds: the record set of each aggregate. records: of the stream's row; None: it has no row. state: determined by the
    events. is_intact: every event matches the ledger.
    """

    def __init__(
        self,
        findings: Findings,
        ledger: Ledger,
        kinds: Mapping[str, DerivedRecords[Any, Any]],
        observe: Callable[[Event, int], None],
    ) -> None:
        self._observe = observe
        self._findings = findings
        self._ledger = ledger
        self._event = ledger.event
        self._kinds = kinds
        self._evolve: Callable[[Any, Event], Any] | None = None
        self._version = 0
        self._origin: Origin | None = None
        self._kind = ""
        self._erased_at: dict[Subject, int] = {}
        self.records: DerivedRecords[Any, Any] | None = None
        self.state: Any = None
        self.is_intact = True

    def take(self, entry: LedgerEntry, topic: str) -> None:
        """Check the next entry and apply its event. topic: the topic of the event; the ledger has a copy."""
        client, position, stream, version, _, known, *_, leaf, state, _ = entry
        self._findings.events += 1
        self._version += 1
        if version != self._version:
            self._break(entry, f"version {self._version} is missing from the ledger")
            self._version = version
        if not state:
            self._break(entry, "the event is missing")
            return
        if not isinstance(topic, str) or leaf_of(client, position, stream, version, topic, state) != leaf:
            self._break(entry, "the event differs from the ledger (columns position and leaf)")
        times = _TIMES.get(topic)
        if times is None:
            self._break(entry, f"event type {topic!r} is unknown: check with the release that stored it")
            return
        try:
            event = self._event(entry if topic == known else entry._replace(topic=topic))
            _check_times(event, times)
            self._observe(event, position)
            self._check_columns(entry, event)
            if event.reason_erased and not self._is_erased(entry):
                self._break(entry, "the comment is missing from table details, but its user was not erased")
            if self._evolve and self.is_intact:
                self.state = self._evolve(self.state, event)
        except (ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
            self._break(entry, f"the event cannot be replayed: {error}")

    def _is_erased(self, entry: LedgerEntry) -> bool:
        """Return whether the user of the entry was erased after it."""
        subject = Subject(entry.client_ext_id, entry.user_ext_id)
        # Only the stream of an access log concerns several users. A running service may erase the user during the check.
        if subject.user_ext_id and self._erased_at.get(subject, 0) < entry.position:
            newest = self._ledger.newest_of_user(subject, (UserErased.TOPIC,), 1)
            self._erased_at[subject] = max((found.position for found in newest), default=0)
        return self._erased_at.get(subject, 0) > entry.position

    def _check_columns(self, entry: LedgerEntry, event: Event) -> None:
        named, kind = event.origin or self._origin, event.AGGREGATE
        if not self._kind:
            self._begin(kind)
        if named is None:
            if self.is_intact:
                self._break(entry, "column stream: the first event of the stream names no client")
            return
        if self._origin is None:
            self._origin = named
        if kind != self._kind:
            self._break(entry, f"column topic: no {event.TOPIC} belongs to a stream of a {self._kind}")
        stream, subject, _ = named
        if not matches(entry, event, subject) or entry.stream.int != stream.int:
            self._compare_columns(entry, columns_of(event, subject), stream)

    def _begin(self, kind: str) -> None:
        self._kind, self.records = kind, self._kinds.get(kind)
        self._evolve = self.records.aggregate.evolve if self.records else None

    def _compare_columns(self, entry: LedgerEntry, expected: LedgerColumns, stream: UUID) -> None:
        pairs = zip(LedgerColumns._fields, entry.columns, expected, strict=True)
        faults = {
            f"column {column} is {_shown(stored)}, not {_shown(wanted)}": column
            for column, stored, wanted in [*pairs, ("stream", entry.stream, stream)]
            if stored != wanted
        }
        for fault, column in faults.items():
            self._report(entry, fault)
            # The other columns are copies for searches only.
            self.is_intact &= column not in ("client_ext_id", "stream", "version")

    def _break(self, entry: LedgerEntry, fault: str) -> None:
        self.is_intact = False
        self._report(entry, fault)

    def _report(self, entry: LedgerEntry, fault: str) -> None:
        place = f"position {entry.position}, stream {entry.stream}, version {entry.version}"
        self._findings.faults.append(f"client {entry.client_ext_id!r}, {place}: {fault}")


def _check_times(event: Event, names: Sequence[str]) -> None:
    """Raise ValueError if a time of the event has no time zone."""
    for name in names:
        moment = getattr(event, name)
        if moment is not None and moment.tzinfo is None:
            raise ValueError(f"field {name} has no offset from UTC")


def _shown(value: object) -> str:
    return repr(str(value))


def _compare(page: Sequence[_Replayed], findings: Findings, ledger: Ledger) -> None:
    for records, expected in _by_records(page):
        rows = {found.state.key: found for found in expected}
        while differing := ledger.differing_rows(records, [found.state for found in rows.values()]):
            # A running service may have extended a stream since its replay; then its row is compared again.
            newest = {key: _newest(rows[key], ledger) for key in differing}
            for key, found in newest.items():
                if found.state.version <= rows[key].state.version:
                    label = f"client {key[0]!r}, {records.noun} {key[1]!r}"
                    findings.faults.append(f"{label}: the read row differs from the replayed one")
            rows = {
                key: found for key, found in newest.items() if found.state.version > rows[key].state.version
            }


def _newest(found: _Replayed, ledger: Ledger) -> _Replayed:
    """Replay the stream again and return its state; the same state if the stream is broken."""
    client_ext_id = found.state.key[0]
    return next(_replayed(client_ext_id, found.stream, found.stream, ledger, Findings()), found)


def check_ledger(
    client_ext_id: str, *, ledger: Ledger, verifier: Verifier, outside: Sequence[Checkpoint] = ()
) -> Findings:
    """Check the positions, the tree and every checkpoint of a client.

    outside: checkpoints from witnesses. Raises StoreUnavailable.
    """
    findings = Findings()
    signed = _signed(client_ext_id, ledger, verifier, outside, findings)
    # A restore also restored the store's own checkpoints, so only outside ones can cover lost entries.
    lost = _LostEntries(client_ext_id, ledger, outside, findings)
    tree, tiles, position = Frontier(), _Tiles(client_ext_id, ledger, findings), 0
    # A running service may extend the ledger during the check.
    least = ledger.size(client_ext_id)
    while page := ledger.positions(client_ext_id, position, PAGE):
        for found, leaf in page:
            position += 1
            findings.entries += 1
            if found != position:
                findings.faults.append(f"client {client_ext_id!r}: position {position} is missing")
                return findings
            tree.add(leaf)
            tiles.add(leaf)
            for checkpoint in signed.pop(position, ()):
                if checkpoint.root != tree.root():
                    lost.add(checkpoint, f"the first {position} entries differ from the signed ones")
    for size in sorted(signed):
        lost.add(signed[size][0], f"a checkpoint covers {size} entries, but the ledger has only {position}")
    lost.report()
    findings.faults.extend(
        f"client {client_ext_id!r}: the times of block {number} in table ledger_times differ from the ledger"
        for number in ledger.differing_times(client_ext_id)
    )
    if not least <= position <= ledger.size(client_ext_id):
        findings.faults.append(
            f"client {client_ext_id!r}: its stored size is wrong, there are {position} entries"
        )
    return findings


class _Tiles:
    """Compares the stored tiles of a client with its leaves; missing tiles are not a fault."""

    def __init__(self, client_ext_id: str, ledger: Ledger, findings: Findings) -> None:
        self._client_ext_id, self._ledger, self._findings = client_ext_id, ledger, findings
        self._kept: dict[int, bytes] = {}
        self._tile, self._number = Frontier(), 0

    def add(self, leaf: bytes) -> None:
        """Add the next leaf."""
        self._tile.add(leaf)
        if self._tile.size < TILE:
            return
        if self._number % PAGE == 0:
            page = self._ledger.numbered_tiles(self._client_ext_id, self._number, self._number + PAGE)
            self._kept = dict(page)
        root = self._tile.root()
        kept = self._kept.get(self._number, root)
        self._tile, self._number = Frontier(), self._number + 1
        if kept != root:
            fault = f"the tile that ends at {self._number * TILE} differs"
            self._findings.faults.append(f"client {self._client_ext_id!r}: {fault}")


class _LostEntries:
    """Distinguishes entries lost by a restore from changed entries, by means of outside checkpoints."""

    def __init__(
        self, client_ext_id: str, ledger: Ledger, outside: Sequence[Checkpoint], findings: Findings
    ) -> None:
        self._client = f"client {client_ext_id!r}"
        self._eras = ledger.eras(client_ext_id)
        self._outside = outside
        self._findings = findings
        self._sizes: dict[Era, set[int]] = {}

    def add(self, checkpoint: Checkpoint, fault: str) -> None:
        """Add a checkpoint that contradicts the ledger."""
        cut = self._eras.cut_before(checkpoint.size)
        if cut and checkpoint in self._outside:
            self._sizes.setdefault(cut, set()).add(checkpoint.size)
        else:
            self._findings.faults.append(f"{self._client}: {fault}")

    def report(self) -> None:
        """Add the lost entries to the findings."""
        for era, sizes in self._sizes.items():
            self._findings.lost.append(
                f"{self._client}: the store was restored on {era.began} to position {era.after} of this ledger, but {max(sizes)}"
                f" entries were signed; the entries after position {era.after} are lost (shown by the outside checkpoints of"
                f" {', '.join(map(str, sorted(sizes)))} entries)"
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
    try:
        while page := ledger.checkpoints(client_ext_id, size, PAGE):
            kept.extend(page)
            size = page[-1].size
    except LedgerBroken as error:
        findings.faults.append(f"client {client_ext_id!r}: {error}")
    for checkpoint in [*kept, *outside]:
        findings.checkpoints += 1
        if verifier.verify(checkpoint):
            signed.setdefault(checkpoint.size, []).append(checkpoint)
        else:
            findings.faults.append(
                f"client {client_ext_id!r}: the checkpoint of {checkpoint.size} entries is not signed by a key of this service"
            )
    return signed


def rebuild(client_ext_id: str, begin: UUID, end: UUID, *, ledger: Ledger) -> Findings:
    """Rebuild the read rows of a range of streams; `rows` of the findings is their number.

    A stream that does not match the ledger is reported and its row is kept. The service may run concurrently: newer rows
    are kept. Raises StoreUnavailable.
    """
    findings, rows = Findings(), 0
    replayed = _replayed(client_ext_id, begin, end, ledger, findings)
    while page := list(islice(replayed, PAGE)):
        for records, found in _by_records(page):
            if not isinstance(records, CommittedRecords):
                ledger.rewrite_rows(records, [one.state for one in found])
                rows += len(found)
    findings.rows = rows
    return findings
