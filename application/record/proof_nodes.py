"""The nodes of proofs, kept in memory between calls: most proofs of a ledger share them."""

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

from application.record.ledger import Ledger, LedgerTree
from application.record.merkle import Subtree

# About 200 bytes each.
MAX_NODES = 200_000


@dataclass
class _Kept:
    """The nodes over complete subtrees of the first `size` entries. last: the last of these leaves."""

    size: int = 0
    last: bytes = b""
    nodes: dict[tuple[int, int], bytes] = field(default_factory=dict)


class ProofNodes:
    """Keeps the nodes over complete subtrees, which never change; those of the clients not used for longest are dropped.

    The nodes of a ledger that was restored meanwhile are dropped, too.
    """

    def __init__(self, max_nodes: int = MAX_NODES) -> None:
        self._max_nodes = max_nodes
        self._lock = Lock()
        self._clients: OrderedDict[str, _Kept] = OrderedDict()

    def of(self, client_ext_id: str, size: int, ledger: Ledger) -> Subtree:
        """Return the subtree function of the first `size` entries of a ledger."""
        kept, tree = self._kept(client_ext_id, size, ledger), LedgerTree(ledger, client_ext_id)

        def subtree(begin: int, end: int) -> bytes:
            node = kept.nodes.get((begin, end)) or tree.subtree(begin, end)
            span = end - begin
            if span & (span - 1) == 0 and len(kept.nodes) < self._max_nodes:
                kept.nodes[begin, end] = node
            return node

        return subtree

    def _kept(self, client_ext_id: str, size: int, ledger: Ledger) -> _Kept:
        def last_of(size: int) -> bytes:
            return b"".join(ledger.leaves(client_ext_id, size - 1, size))

        with self._lock:
            kept = self._clients.get(client_ext_id)
        if kept is None or kept.size > size or last_of(kept.size) != kept.last:
            kept = _Kept()
        kept = _Kept(size, last_of(size), kept.nodes)
        with self._lock:
            self._clients[client_ext_id] = kept
            self._clients.move_to_end(client_ext_id)
            while len(self._clients) > 1 and self._count() > self._max_nodes:
                self._clients.popitem(last=False)
        return kept

    def _count(self) -> int:
        return sum(len(kept.nodes) for kept in self._clients.values())
