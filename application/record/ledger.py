"""The ledger: every event of a client at its position 1, 2, 3 … without a gap, each as the leaf of a Merkle tree."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from application.record.eras import Eras
from application.record.merkle import HASH_BYTES, Frontier, leaf_hash
from application.record.streams import LedgerColumns
from domain.shared.event import Event
from domain.shared.subject import Subject
from domain.tickets.state import TicketState

LEAF_FORMAT = b"tickets-leaf-v1"
TILE = 256
_TILE_HEIGHT = 8


class LedgerEntry(NamedTuple):
    """A row of the ledger with the event behind it; see LedgerColumns.

    timestamp: the column occurred. state: the exact stored bytes of the event.
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

    @property
    def columns(self) -> LedgerColumns:
        """What the entry has of its event."""
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


def leaf_of(client_ext_id: str, position: int, stream: UUID, version: int, topic: str, state: bytes) -> bytes:
    """Return the hash of an entry's leaf, as docs/evidence.md specifies it."""
    fields = (
        LEAF_FORMAT,
        client_ext_id.encode(),
        struct.pack(">q", position),
        stream.bytes,
        struct.pack(">q", version),
        topic.encode(),
        state,
    )
    return leaf_hash(b"".join(struct.pack(">i", len(field)) + field for field in fields))


def head_leaf(stream: UUID, version: int) -> bytes:
    """Return the hash of a leaf of the tree of stream heads: the stream, and the version of its newest event."""
    return leaf_hash(stream.bytes + struct.pack(">q", version))


@dataclass(frozen=True)
class HistoryQuery:
    """Which entries of a client to find; what is None does not matter. begin and end: of the events' time."""

    client_ext_id: str
    user_ext_id: str | None = None
    actor: str | None = None
    topic: str | None = None
    trace_id: str | None = None
    begin: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A signed statement of a client's ledger at a size; `note` is its text (C2SP tlog-checkpoint)."""

    client_ext_id: str
    size: int
    root: bytes
    note: str
    made: datetime


class Ledger(Protocol):
    """The ledger in the store. Every method raises StoreUnavailable; one that returns checkpoints, LedgerBroken too."""

    def sizes(self) -> Sequence[tuple[str, int]]:
        """Return the size of the ledger of every client that has one."""

    def clients(self) -> Sequence[str]:
        """Return every client of which the ledger has a size, an entry or a checkpoint, sorted."""

    def size(self, client_ext_id: str) -> int:
        """Return the position of the newest entry; 0 where there is none."""

    def sizes_of(self, client_ext_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the size of the ledgers of these clients, as far as they have one."""

    def eras(self, client_ext_id: str) -> Eras:
        """Return the eras of a client's ledger: when the store was put back, and to which position."""

    def commits(self) -> Iterator[None]:
        """Yield whenever something may have been committed since, by any process, and at least once a second.

        It ends never, and survives what fails; close the generator to give back what it holds.
        """

    def leaves(self, client_ext_id: str, begin: int, end: int) -> Sequence[bytes]:
        """Return the hashes of the leaves from index `begin` (from 0) up to, but not with, `end`."""

    def tiles(self, client_ext_id: str, begin: int, end: int) -> Sequence[bytes]:
        """Return the kept hashes of the full tiles of 256 leaves of these numbers (from 0), as far as they are kept."""

    def numbered_tiles(self, client_ext_id: str, begin: int, end: int) -> Sequence[tuple[int, bytes]]:
        """Return the kept hashes of the full tiles of these numbers, each with its number; there may be gaps."""

    def save_tiles(self, client_ext_id: str, begin: int, hashes: Sequence[bytes]) -> None:
        """Keep the hashes of full tiles from this number on; what is kept already stays."""

    def event(self, entry: LedgerEntry) -> Event:
        """Return the event behind an entry. Raises ValueError where the stored bytes are none."""

    def entries(self, client_ext_id: str, after: int, limit: int) -> Sequence[LedgerEntry]:
        """Return the next entries by position."""

    def entries_of_topics(
        self, client_ext_id: str, topics: Sequence[str], after: int, limit: int
    ) -> Sequence[LedgerEntry]:
        """Return the next entries of these topics by position."""

    def newest_of_topics(self, client_ext_id: str, topics: Sequence[str], end: int) -> int:
        """Return the newest position of these topics, up to and with `end`; 0 where there is none."""

    def entries_of(self, subject: Subject, stream: UUID, after: int, limit: int) -> Sequence[LedgerEntry]:
        """Return the next entries of a stream by version."""

    def entries_by_stream(
        self, client_ext_id: str, stream: UUID, version: int, end: UUID, limit: int
    ) -> Sequence[tuple[LedgerEntry, str]]:
        """Return the next entries by stream and version, up to a stream, each with the topic of its event.

        The state of one without an event is empty, and so is the topic.
        """

    def positions(self, client_ext_id: str, after: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Return the next positions with their leaves."""

    def mistyped_values(self) -> Sequence[str]:
        """Return stored values that are not of the type of their column, one text each; nothing can be read then."""

    def orphaned_rows(self) -> Sequence[str]:
        """Return events and other rows that are in no ledger, and rows of credentials without events, one text each."""

    def differing_rows(self, expected: Sequence[TicketState]) -> Sequence[Subject]:
        """Return whose stored row does not say what the expected one says; one of another release may have other fields."""

    def rewrite_rows(self, rows: Sequence[TicketState]) -> None:
        """Store these rows, but for those that are newer in the store."""

    def search(self, query: HistoryQuery, after: int, limit: int) -> Sequence[LedgerEntry]:
        """Return the next entries by position that fit."""

    def newest_of_user(self, subject: Subject, topics: Sequence[str], limit: int) -> Sequence[LedgerEntry]:
        """Return the newest entries of these topics that are about a user, the newest first."""

    def heads(self, client_ext_id: str, size: int) -> Sequence[tuple[UUID, int]]:
        """Return the newest version of every stream among the first entries, by stream."""

    def checkpoints(self, client_ext_id: str, after: int, limit: int) -> Sequence[Checkpoint]:
        """Return the next checkpoints by size."""

    def newest_checkpoint(self, client_ext_id: str) -> Checkpoint | None:
        """Return the checkpoint of the largest size."""

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint, in the place of one of the same size."""

    def unsent_checkpoints(self, after: tuple[str, int] | None, limit: int) -> Sequence[Checkpoint]:
        """Return the next checkpoints, by client and size, that are still to be sent out of the operator's reach."""

    def unsent_since(self) -> datetime | None:
        """Return when the oldest of them was made; None where there is none."""

    def mark_sent(self, checkpoint: Checkpoint) -> None:
        """Note that a checkpoint was sent."""


class LedgerTree:
    """The Merkle tree over the first leaves of a client's ledger, read as it is needed, tile by tile."""

    def __init__(self, ledger: Ledger, client_ext_id: str) -> None:
        self._ledger = ledger
        self._client_ext_id = client_ext_id

    def subtree(self, begin: int, end: int) -> bytes:
        """Return the hash over these leaves; they are cut out where the tree is cut (merkle.Subtree)."""
        tree = Frontier()
        full = end // TILE
        if begin % TILE == 0 and full > begin // TILE:
            for tile in self.tiles(begin // TILE, full):
                tree.add(tile, _TILE_HEIGHT)
            begin = full * TILE
        for leaf in self._leaves(begin, end):
            tree.add(leaf)
        return tree.root()

    def tiles(self, begin: int, end: int) -> Iterator[bytes]:
        """Return the hashes of full tiles: the kept ones, and behind them those that are still to be kept."""
        kept = self._ledger.tiles(self._client_ext_id, begin, end)
        yield from kept
        for number in range(begin + len(kept), end):
            yield self.computed_tile(number)

    def computed_tile(self, number: int) -> bytes:
        """Return the hash of a full tile, computed from its leaves."""
        tree = Frontier()
        for leaf in self._leaves(number * TILE, (number + 1) * TILE):
            tree.add(leaf)
        return tree.root()

    def _leaves(self, begin: int, end: int) -> Sequence[bytes]:
        leaves = self._ledger.leaves(self._client_ext_id, begin, end) if begin < end else []
        if len(leaves) != end - begin or any(len(leaf) != HASH_BYTES for leaf in leaves):
            raise LedgerBroken(
                f"the ledger of {self._client_ext_id!r} has a gap between the positions {begin + 1} and {end}"
            )
        return leaves


class LedgerBroken(Exception):
    """The ledger is not what was signed, or has a gap: somebody or something changed the record."""
