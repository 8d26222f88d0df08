"""The ledger: the events of a client at positions 1, 2, 3 … without gaps, as the leaves of a Merkle tree."""

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from application.record.eras import Eras
from application.record.merkle import EMPTY_ROOT, HASH_BYTES, LEAF_PREFIX, Frontier, cut, leaf_hash, node_hash
from application.record.streams import LedgerColumns, column_date
from application.transaction.details import Details
from application.transaction.records import DerivedRecords
from domain.shared.aggregate import Versioned
from domain.shared.event import Event
from domain.shared.subject import Subject

LEAF_FORMAT = b"tickets-leaf-v1"
_LENGTH = struct.Struct(">i")
_FORMAT = LEAF_PREFIX + _LENGTH.pack(len(LEAF_FORMAT)) + LEAF_FORMAT
# Position, stream and version, each after its length, and the length of the topic.
_FIXED = struct.Struct(">iqi16siqi")
TILE = 256
# Smaller subtrees are computed again from at most 16 tiles.
_CACHED_SPAN = 16 * TILE


class LedgerEntry(NamedTuple):
    """A row of the ledger with its event; see LedgerColumns.

    timestamp: the column `occurred`. state: the exact stored bytes of the event. reason: the text to which the event has a
    commitment; None: no comment, or an erased one.
    """

    client_ext_id: str
    position: int
    stream: UUID
    version: int
    user_ext_id: str
    topic: str
    timestamp: str
    actor: str
    trace_id: str
    leaf: bytes
    state: bytes
    reason: str | None = None

    @property
    def columns(self) -> LedgerColumns:
        """The columns that are derived from the event."""
        return LedgerColumns(
            self.client_ext_id,
            self.stream,
            self.version,
            self.user_ext_id,
            self.topic,
            self.timestamp,
            self.actor,
            self.trace_id,
        )


def matches(entry: LedgerEntry, event: Event, subject: Subject) -> bool:
    """Return whether the columns of an entry are those of its event; faster than a comparison of LedgerColumns."""
    return (
        entry.version == event.originator_version
        and entry.stream.int == event.originator_id.int
        and entry.actor == event.actor
        and entry.trace_id == event.correlation_id[3:35]
        and entry.topic == event.TOPIC
        and entry.timestamp == column_date(event.timestamp)
        and (entry.client_ext_id, entry.user_ext_id) == subject
    )


def leaf_of(client_ext_id: str, position: int, stream: UUID, version: int, topic: str, state: bytes) -> bytes:
    """Return the leaf hash of an entry, as specified in docs/evidence.md."""
    client, name = client_ext_id.encode(), topic.encode()
    fields = (
        _FORMAT,
        _LENGTH.pack(len(client)),
        client,
        _FIXED.pack(8, position, 16, stream.bytes, 8, version, len(name)),
        name,
        _LENGTH.pack(len(state)),
        state,
    )
    return hashlib.sha256(b"".join(fields)).digest()


def head_leaf(stream: UUID, version: int) -> bytes:
    """Return the leaf hash of a stream head: the stream and its newest version."""
    return leaf_hash(stream.bytes + struct.pack(">q", version))


@dataclass(frozen=True)
class HistoryQuery:
    """Search criteria; None matches every entry. begin, end: bounds of the event time."""

    client_ext_id: str
    user_ext_id: str | None = None
    actor: str | None = None
    topic: str | None = None
    trace_id: str | None = None
    begin: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A signed tree head of a client's ledger; `note` is its text (C2SP tlog-checkpoint)."""

    client_ext_id: str
    size: int
    root: bytes
    note: str
    made: datetime


class Ledger(Protocol):
    """The ledger in the store. Every method raises StoreUnavailable; those that return checkpoints also LedgerBroken."""

    def sizes(self) -> Sequence[tuple[str, int]]:
        """Return the ledger size of every client that has a ledger."""

    def clients(self) -> Sequence[str]:
        """Return every client with a ledger size, an entry or a checkpoint, sorted."""

    def size(self, client_ext_id: str) -> int:
        """Return the position of the newest entry; 0: the ledger is empty."""

    def sizes_of(self, client_ext_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the ledger sizes of those of these clients that have a ledger."""

    def eras(self, client_ext_id: str) -> Eras:
        """Return the eras of a client's ledger."""

    def commits(self) -> Iterator[None]:
        """Yield whenever a process may have committed, and at least once a second.

        The generator never ends and survives failures; close it to release its resources.
        """

    def leaves(self, client_ext_id: str, begin: int, end: int) -> Sequence[bytes]:
        """Return the leaf hashes of the index range [begin, end), from 0."""

    def tiles(self, client_ext_id: str, begin: int, end: int) -> Sequence[bytes]:
        """Return the stored hashes of full tiles of 256 leaves in [begin, end), from 0; there may be fewer."""

    def numbered_tiles(self, client_ext_id: str, begin: int, end: int) -> Sequence[tuple[int, bytes]]:
        """Return the stored hashes of full tiles in [begin, end) with their numbers; there may be gaps."""

    def save_tiles(self, client_ext_id: str, begin: int, hashes: Sequence[bytes]) -> None:
        """Store the hashes of full tiles, starting at a number; stored hashes are not overwritten."""

    def event(self, entry: LedgerEntry) -> Event:
        """Return the event of an entry, with its reason unless that was erased. Raises ValueError if the stored bytes are invalid."""

    def details(self, client_ext_id: str, positions: Sequence[int]) -> Mapping[int, Details]:
        """Return the texts of the entries at these positions, unless they have none or it was erased."""

    def entries(self, client_ext_id: str, after: int, limit: int) -> Sequence[LedgerEntry]:
        """Return the next entries by position."""

    def entries_of_topics(
        self, client_ext_id: str, topics: Sequence[str], after: int, limit: int
    ) -> Sequence[LedgerEntry]:
        """Return the next entries of these topics by position."""

    def newest_of_topics(self, client_ext_id: str, topics: Sequence[str], end: int) -> int:
        """Return the newest position of these topics up to and including `end`; 0: none."""

    def entries_of(self, subject: Subject, stream: UUID, after: int, limit: int) -> Sequence[LedgerEntry]:
        """Return the next entries of a stream by version; the state is empty if the event is missing."""

    def naming_entries(self, client_ext_id: str, streams: Sequence[UUID], end: int) -> Sequence[LedgerEntry]:
        """Return the entries that name the aggregates of streams, up to a position.

        These are the first entry of each stream, and each further creation of a ticket, which gives it another extId.
        """

    def entries_by_stream(
        self, client_ext_id: str, stream: UUID, version: int, end: UUID, limit: int
    ) -> Sequence[tuple[LedgerEntry, str]]:
        """Return the next entries by stream and version, up to and including a stream, with the topic of their event.

        State and topic are empty if the event is missing.
        """

    def positions(self, client_ext_id: str, after: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Return the next positions with their leaves."""

    def mistyped_values(self) -> Sequence[str]:
        """Return one message per stored value whose type differs from its column; such a store cannot be read."""

    def orphaned_rows(self) -> Sequence[str]:
        """Return one message per event or row that is in no ledger, and per row that fails the check of its table."""

    def derived_records(self) -> Sequence[DerivedRecords[Any, Any]]:
        """Return the record sets whose rows are determined by the events of an aggregate."""

    def differing_rows(
        self, records: DerivedRecords[Any, Any], expected: Sequence[Versioned]
    ) -> Sequence[tuple[str, str]]:
        """Return the keys whose stored row differs from the expected state; fields of other releases are ignored."""

    def rewrite_rows(self, records: DerivedRecords[Any, Any], states: Sequence[Versioned]) -> None:
        """Store the rows of these states, unless the stored row is newer.

        Values that no event contains are kept; a missing row that needs such values stays missing.
        """

    def search(self, query: HistoryQuery, after: int, limit: int) -> Sequence[LedgerEntry]:
        """Return the next matching entries by position; their times may be in any order."""

    def keep_times(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Store the earliest and latest time of each full block of 256 entries that lacks them; see `search`.

        Only the speed of searches depends on them. `stopped` is called before each step.
        """

    def rebuild_times(self) -> None:
        """Derive the times of every full block from the ledger again."""

    def differing_times(self, client_ext_id: str) -> Sequence[int]:
        """Return the numbers of the blocks, from 0, whose stored times differ from the ledger, or that follow a gap."""

    def newest_of_user(self, subject: Subject, topics: Sequence[str], limit: int) -> Sequence[LedgerEntry]:
        """Return the newest entries of a user with these topics, newest first."""

    def missing_answers(self, client_ext_id: str, command_ids: Sequence[str]) -> Sequence[str]:
        """Return those of these commands that have no stored answer."""

    def version_of(self, client_ext_id: str, stream: UUID) -> int:
        """Return the newest version of a stream; 0: it has no entry."""

    def heads(self, client_ext_id: str, after: int, size: int) -> Sequence[tuple[UUID, int]]:
        """Return the newest version of every stream with an entry among `after` + 1 to `size`, by stream."""

    def checkpoints(self, client_ext_id: str, after: int, limit: int) -> Sequence[Checkpoint]:
        """Return the next checkpoints by size."""

    def checkpoint_sizes(self, client_ext_id: str, limit: int) -> Sequence[int]:
        """Return the sizes of at most `limit` checkpoints, sorted: of all, or the oldest, the newest, and some between.

        The sizes between are evenly spaced. The cost depends on `limit` only.
        """

    def newest_checkpoint(self, client_ext_id: str) -> Checkpoint | None:
        """Return the checkpoint with the largest size."""

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint; replaces one of the same size."""

    def unsent_checkpoints(self, after: tuple[str, int] | None, limit: int) -> Sequence[Checkpoint]:
        """Return the next checkpoints to send to the witnesses, by client and size."""

    def unsent_since(self) -> datetime | None:
        """Return the time of the oldest unsent checkpoint; None: all were sent."""

    def mark_sent(self, checkpoint: Checkpoint) -> None:
        """Mark a checkpoint as sent."""


class LedgerTree:
    """The Merkle tree of a client's ledger, read tile by tile on demand.

    It caches the tiles, the hashes above them, and the hashes within the tile that was used last: 32 bytes per tile and
    the proofs of a stream, in the order of its positions, read each tile once.
    """

    def __init__(self, ledger: Ledger, client_ext_id: str) -> None:
        self._ledger = ledger
        self._client_ext_id = client_ext_id
        self._tiles: list[bytes] = []
        self._above: dict[tuple[int, int], bytes] = {}
        self._number = -1
        self._within: list[bytes] = []
        self._nodes: dict[tuple[int, int], bytes] = {}

    def subtree(self, begin: int, end: int) -> bytes:
        """Return the hash of the subtree of these leaves (merkle.Subtree)."""
        if begin == end:
            return EMPTY_ROOT
        if begin % TILE == 0 and end - begin == TILE:
            return self._tile(begin // TILE)
        if end <= (begin // TILE + 1) * TILE:
            return self._subtree_within(begin, end)
        if (known := self._above.get((begin, end))) is not None:
            return known
        middle = cut(begin, end)
        node = node_hash(self.subtree(begin, middle), self.subtree(middle, end))
        if end - begin >= _CACHED_SPAN:
            self._above[begin, end] = node
        return node

    def _tile(self, number: int) -> bytes:
        """Return the hash of a full tile: the stored one, or a computed one after them."""
        known = self._tiles
        if number >= len(known):
            known += self._ledger.tiles(
                self._client_ext_id, len(known), max(number + 1, 2 * len(known) + TILE)
            )
            known += [self.computed_tile(missing) for missing in range(len(known), number + 1)]
        return known[number]

    def _subtree_within(self, begin: int, end: int) -> bytes:
        """Return the hash of a subtree that is smaller than a tile."""
        number, offset = begin // TILE, begin // TILE * TILE
        if self._number != number or len(self._within) < end - offset:
            found = self._ledger.positions(self._client_ext_id, offset, TILE)
            complete = takewhile(
                lambda row: row[1][0] == offset + row[0] and len(row[1][1]) == HASH_BYTES, enumerate(found, 1)
            )
            self._number, self._within, self._nodes = number, [leaf for _, (_, leaf) in complete], {}
        if len(self._within) < end - offset:
            raise self._gap(begin, end)
        return self._node(begin - offset, end - offset)

    def _node(self, begin: int, end: int) -> bytes:
        if end - begin == 1:
            return self._within[begin]
        if (begin, end) not in self._nodes:
            middle = cut(begin, end)
            self._nodes[begin, end] = node_hash(self._node(begin, middle), self._node(middle, end))
        return self._nodes[begin, end]

    def computed_tile(self, number: int) -> bytes:
        """Compute the hash of a full tile from its leaves."""
        tree = Frontier()
        for leaf in self._leaves(number * TILE, (number + 1) * TILE):
            tree.add(leaf)
        return tree.root()

    def _leaves(self, begin: int, end: int) -> Sequence[bytes]:
        leaves = self._ledger.leaves(self._client_ext_id, begin, end) if begin < end else []
        if len(leaves) != end - begin or any(len(leaf) != HASH_BYTES for leaf in leaves):
            raise self._gap(begin, end)
        return leaves

    def _gap(self, begin: int, end: int) -> "LedgerBroken":
        return LedgerBroken(
            f"the ledger of {self._client_ext_id!r} has a gap between positions {begin + 1} and {end}"
        )


class LedgerBroken(Exception):
    """The ledger differs from a checkpoint or has a gap: the record was changed."""
