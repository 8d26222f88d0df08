"""Merkle trees: roots, inclusion proofs and consistency proofs (RFC 9162, section 2.1).

Own code, since no maintained Python library exists (ADR 7); tested with the vectors of the RFC.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence

HASH_BYTES = 32
LEAF_PREFIX = b"\x00"
EMPTY_ROOT = hashlib.sha256(b"").digest()

Subtree = Callable[[int, int], bytes]
"""Returns the hash of the subtree of the leaves [begin, end), which must be a node of the tree."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256(0x00 ‖ entry)."""
    return hashlib.sha256(LEAF_PREFIX + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node: SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def cut(begin: int, end: int) -> int:
    """Return the split point of these leaves: the largest power of two less than their number."""
    return begin + (1 << (end - begin - 1).bit_length() - 1)


class Frontier:
    """A Merkle tree built incrementally, with memory proportional to its height."""

    def __init__(self) -> None:
        self.size = 0
        self._roots: list[bytes] = []  # of the full subtrees, largest first

    def add(self, node: bytes, height: int = 0) -> None:
        """Add a leaf, or a full subtree of 2^height leaves; the size must be a multiple of 2^height."""
        self.size += 1 << height
        full = self.size >> height
        while full % 2 == 0:
            node = node_hash(self._roots.pop(), node)
            full //= 2
        self._roots.append(node)

    def root(self) -> bytes:
        """Return the root hash."""
        if not self._roots:
            return EMPTY_ROOT
        root = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            root = node_hash(left, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root hash of these leaf hashes."""
    tree = Frontier()
    for leaf in leaves:
        tree.add(leaf)
    return tree.root()


def subtree_of(leaves: Sequence[bytes]) -> Subtree:
    """Return the subtree function of a list of leaf hashes."""

    def subtree(begin: int, end: int) -> bytes:
        return root_of(leaves[begin:end])

    return subtree


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """Return the inclusion proof of the leaf at the index, from 0 (RFC 9162, 2.1.3.1)."""
    begin, end, proof = 0, size, []
    while end - begin > 1:
        middle = cut(begin, end)
        if index < middle:
            proof.append(subtree(middle, end))
            end = middle
        else:
            proof.append(subtree(begin, middle))
            begin = middle
    return proof[::-1]


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """Return the root computed from an inclusion proof; None: the proof has the wrong length (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return None
    position, last, root = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return None
        if position % 2 or position == last:
            root = node_hash(sibling, root)
            while position % 2 == 0 and position:
                position, last = position // 2, last // 2
        else:
            root = node_hash(root, sibling)
        position, last = position // 2, last // 2
    return root if last == 0 else None


def shared_proof(leaves: Sequence[int], sizes: Sequence[int], size: int, subtree: Subtree) -> Iterator[bytes]:
    """Yield the nodes that lead from these leaves to the root, and to the roots of these smaller sizes, from left to right.

    leaves: their positions, from 1; sizes: both sorted. The result shares the nodes of all proofs: it contains a node
    unless a leaf is below it or one of the sizes ends within it (docs/evidence.md).
    """
    remaining = [(0, size)]
    while remaining:
        begin, end = remaining.pop()
        below = bisect_right(leaves, end) - bisect_right(leaves, begin)
        if below == end - begin:
            continue
        if not below and bisect_right(sizes, begin) == bisect_left(sizes, end):
            yield subtree(begin, end)
        else:
            middle = cut(begin, end)
            remaining += (middle, end), (begin, middle)


def consistency_proof(old: int, size: int, subtree: Subtree) -> list[bytes]:
    """Return the consistency proof between the trees of `old` and `size` leaves (RFC 9162, 2.1.4.1)."""
    if not 0 < old <= size:
        raise ValueError("a consistency proof requires 0 < old <= size")
    begin, end, proof, is_prefix = 0, size, [], True
    while old != end:
        middle = cut(begin, end)
        if old <= middle:
            proof.append(subtree(middle, end))
            end = middle
        else:
            proof.append(subtree(begin, middle))
            begin, is_prefix = middle, False
    return [*([] if is_prefix else [subtree(begin, end)]), *proof[::-1]]


def is_consistent(old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Return whether the proof shows that the new tree extends the old one (RFC 9162, 2.1.4.2)."""
    if old == size:
        return not proof and old_root == root
    if not 0 < old < size or not proof:
        return False
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    position, last = old - 1, size - 1
    while position % 2:
        position, last = position // 2, last // 2
    old_tree = new_tree = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position % 2 or position == last:
            old_tree, new_tree = node_hash(sibling, old_tree), node_hash(sibling, new_tree)
            while position % 2 == 0 and position:
                position, last = position // 2, last // 2
        else:
            new_tree = node_hash(new_tree, sibling)
        position, last = position // 2, last // 2
    return last == 0 and (old_tree, new_tree) == (old_root, root)
