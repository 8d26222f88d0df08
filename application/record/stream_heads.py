"""The trees of stream heads, kept in memory between calls and updated with the newest entries."""

import hashlib
import struct
import zlib
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import BinaryIO, Protocol
from uuid import UUID

from application.record.ledger import Ledger, LedgerBroken, head_leaf
from application.record.merkle import EMPTY_ROOT, HASH_BYTES

_STREAM_BYTES, _VERSION_BYTES = 16, 8
# About 90 bytes each.
MAX_STREAMS = 500_000
# A tree of fewer streams is built in less than 100 ms, so it is not saved.
MIN_SAVED_STREAMS = 10_000
# A tree is saved again if this share of the number of its streams has changed: then, the newest entries are read in 50 ms.
_CHANGED_SHARE = 64
# The format, the number of entries and of streams, the checksum of the rest, and the last leaf.
_HEADER = struct.Struct(">16sqqI32s")
_FORMAT = b"tickets-heads-1\n"


@dataclass(frozen=True)
class HeadProof:
    """The head of a stream in the tree of heads: its version and index, and the inclusion proof."""

    version: int
    index: int
    proof: Sequence[bytes]


class SavedTrees(Protocol):
    """The files in which trees are saved, so that a new process does not read the complete ledger."""

    def open(self, client_ext_id: str) -> BinaryIO | None:
        """Open the file of a client for reading; None: it has none that can be read."""

    def save(self, client_ext_id: str, content: bytes) -> None:
        """Replace the file of a client, unless the directory cannot be written."""


class StreamHeads:
    """Keeps a tree per client, up to a number of streams in all; the trees that were not used for longest are dropped.

    A call updates the tree with the streams that changed since the last one. A new stream moves the leaves behind it, so
    all nodes over them are computed again. saved: the files for large trees.
    """

    def __init__(
        self,
        max_streams: int = MAX_STREAMS,
        saved: SavedTrees | None = None,
        min_saved: int = MIN_SAVED_STREAMS,
    ) -> None:
        self._max_streams = max_streams
        self._saved = saved
        self._min_saved = min_saved
        self._lock = Lock()
        self._trees: OrderedDict[str, HeadsTree] = OrderedDict()

    def root(self, client_ext_id: str, size: int, ledger: Ledger) -> tuple[int, bytes]:
        """Return the number of streams among the first `size` entries, and the root over their heads."""
        return self._at(client_ext_id, size, ledger, None)[0]

    def proof(self, client_ext_id: str, size: int, stream: UUID, ledger: Ledger) -> tuple[int, HeadProof]:
        """Return the number of streams, and the proof of one of them. Raises LedgerBroken if it is missing."""
        (count, _), proof = self._at(client_ext_id, size, ledger, stream)
        if proof is None:
            raise LedgerBroken(f"the ledger of {client_ext_id!r} lacks a stream")
        return count, proof

    def _at(
        self, client_ext_id: str, size: int, ledger: Ledger, stream: UUID | None
    ) -> tuple[tuple[int, bytes], HeadProof | None]:
        with self._lock:
            tree = self._trees.setdefault(client_ext_id, HeadsTree())
            self._trees.move_to_end(client_ext_id)
        with (kept := tree).lock:
            if tree.size > size:
                # A concurrent call has read newer entries.
                tree = HeadsTree()
            elif self._saved and not tree.size and (file := self._saved.open(client_ext_id)):
                with file:
                    tree.load(file, size)
            tree.update(client_ext_id, size, ledger)
            if self._saved and tree is kept and len(tree) >= self._min_saved and tree.is_outdated:
                self._saved.save(client_ext_id, tree.dump())
            found = tree.root(), tree.proof(stream) if stream else None
        with self._lock:
            while self._trees and sum(map(len, self._trees.values())) > self._max_streams:
                self._trees.popitem(last=False)
        return found


class HeadsTree:
    """The heads of the first `size` entries of a ledger, by stream, and every level of the tree over them."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.size = 0
        self._saved_size = 0
        self._last_leaf: Sequence[bytes] = []
        self._streams = bytearray()
        self._versions = bytearray()
        self._levels = [bytearray()]

    def __len__(self) -> int:
        return len(self._streams) // _STREAM_BYTES

    @property
    def is_outdated(self) -> bool:
        """Whether the tree is to be saved again."""
        return self.size - self._saved_size > len(self) // _CHANGED_SHARE

    def load(self, file: BinaryIO, max_size: int) -> None:
        """Read a saved tree into this empty one, unless it is damaged or has more entries than the ledger."""
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return
        magic, size, count, checksum, leaf = _HEADER.unpack(header)
        if magic != _FORMAT or not 0 < count <= size <= max_size:
            return
        lengths = [count * _STREAM_BYTES, count * _VERSION_BYTES, count * HASH_BYTES]
        while lengths[-1] > HASH_BYTES:
            lengths.append(-(-lengths[-1] // HASH_BYTES // 2) * HASH_BYTES)
        # Each part is read in place: a copy takes as long as the reading.
        parts, found = [bytearray(length) for length in lengths], 0
        for part in parts:
            file.readinto(part)  # type: ignore[attr-defined]
            found = zlib.crc32(part, found)
        if found == checksum:
            self._streams, self._versions, *self._levels = parts
            self._last_leaf = [leaf]
            self.size = self._saved_size = size

    def dump(self) -> bytes:
        """Return the tree as `load` reads it."""
        parts, checksum, [leaf] = [self._streams, self._versions, *self._levels], 0, self._last_leaf
        for part in parts:
            checksum = zlib.crc32(part, checksum)
        self._saved_size = self.size
        return b"".join([_HEADER.pack(_FORMAT, self.size, len(self), checksum, leaf), *parts])

    def update(self, client_ext_id: str, size: int, ledger: Ledger) -> None:
        """Read the entries up to `size`. All are read again if they are many, or the ledger was restored meanwhile."""
        restored = self.size and ledger.leaves(client_ext_id, self.size - 1, self.size) != self._last_leaf
        if restored or size - self.size > len(self) // 4:
            self.build(ledger.heads(client_ext_id, 0, size))
        elif self.size < size:
            self.apply(ledger.heads(client_ext_id, self.size, size))
        self._last_leaf = ledger.leaves(client_ext_id, size - 1, size)
        self.size = size

    def build(self, heads: Sequence[tuple[UUID, int]]) -> None:
        """Replace the tree by that of these streams, which are sorted."""
        self._streams = bytearray(b"".join(stream.bytes for stream, _ in heads))
        self._versions = bytearray(b"".join(struct.pack(">q", version) for _, version in heads))
        self._levels = [bytearray(b"".join(head_leaf(*head) for head in heads))]
        self._rehash(set(), 0)

    def apply(self, heads: Sequence[tuple[UUID, int]]) -> None:
        """Set the version of these streams, which are sorted."""
        begin = self._insert([(stream, version) for stream, version in heads if self._index(stream) is None])
        changed = set()
        for stream, version in heads:
            index = self._place(stream)
            changed.add(index)
            self._versions[index * _VERSION_BYTES : (index + 1) * _VERSION_BYTES] = struct.pack(">q", version)
            self._levels[0][index * HASH_BYTES : (index + 1) * HASH_BYTES] = head_leaf(stream, version)
        self._rehash(changed, begin)

    def root(self) -> tuple[int, bytes]:
        """Return the number of streams and the root over their heads."""
        return len(self), bytes(self._levels[-1]) or EMPTY_ROOT

    def proof(self, stream: UUID) -> HeadProof | None:
        """Return the proof of a stream; None: it has no entry."""
        index = self._index(stream)
        if index is None:
            return None
        proof, place = [], index
        for level in self._levels[:-1]:
            begin = (place ^ 1) * HASH_BYTES
            if begin < len(level):
                proof.append(bytes(level[begin : begin + HASH_BYTES]))
            place //= 2
        [version] = struct.unpack_from(">q", self._versions, index * _VERSION_BYTES)
        return HeadProof(version, index, proof)

    def _place(self, stream: UUID) -> int:
        return bisect_left(range(len(self)), stream.bytes, key=self._stream)

    def _stream(self, index: int) -> bytes:
        return bytes(self._streams[index * _STREAM_BYTES : (index + 1) * _STREAM_BYTES])

    def _index(self, stream: UUID) -> int | None:
        index = self._place(stream)
        return index if index < len(self) and self._stream(index) == stream.bytes else None

    def _insert(self, heads: Sequence[tuple[UUID, int]]) -> int:
        """Insert new streams, which are sorted. Returns the first index at which a leaf was inserted or appended."""
        places = [self._place(stream) for stream, _ in heads]
        begin = min(places, default=len(self))
        self._streams = _merged(self._streams, _STREAM_BYTES, places, [stream.bytes for stream, _ in heads])
        self._versions = _merged(self._versions, _VERSION_BYTES, places, [bytes(_VERSION_BYTES)] * len(heads))
        self._levels[0] = _merged(self._levels[0], HASH_BYTES, places, [bytes(HASH_BYTES)] * len(heads))
        return begin

    def _rehash(self, changed: set[int], begin: int) -> None:
        """Compute the nodes above the changed leaves and above all leaves from `begin` on."""
        height, sha256 = 0, hashlib.sha256
        while len(nodes := self._levels[height]) > HASH_BYTES:
            begin, height = begin // 2, height + 1
            if height == len(self._levels):
                self._levels.append(bytearray())
            above, width = self._levels[height], 2 * HASH_BYTES
            changed = {index // 2 for index in changed if index // 2 < begin}
            for index in changed:
                pair = nodes[index * width : (index + 1) * width]
                above[index * HASH_BYTES : (index + 1) * HASH_BYTES] = sha256(b"\x01" + pair).digest()
            full = len(nodes) // width
            hashes = [
                sha256(b"\x01" + nodes[place : place + width]).digest()
                for place in range(begin * width, full * width, width)
            ]
            # A node without a right neighbour rises unchanged.
            above[begin * HASH_BYTES :] = b"".join([*hashes, nodes[full * width :]])
        del self._levels[height + 1 :]


def _merged(old: bytearray, width: int, places: Sequence[int], items: Sequence[bytes]) -> bytearray:
    """Return a list of items of a width with new ones inserted at these places of the old list."""
    if not items:
        return old
    parts, last = list[bytes | bytearray](), 0
    for place, item in zip(places, items, strict=True):
        if place > last:
            parts.append(old[last * width : place * width])
            last = place
        parts.append(item)
    return bytearray(b"".join([*parts, old[last * width :]]))
