"""Checkpoints: signed statements of what a client's ledger is at a size (C2SP tlog-checkpoint and signed-note)."""

import base64
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol
from urllib.parse import quote

from application.record.ledger import TILE, Checkpoint, Ledger, LedgerBroken, LedgerTree, head_leaf
from application.record.merkle import root_of
from application.shared.ports import Clock

_PAGE = 500
# Of checkpoints that some witness lacks; beyond that the others get some of them again.
_REMEMBERED = 20_000

log = logging.getLogger(__name__)


class Signer(Protocol):
    """Signs notes with the service's ledger keys."""

    @property
    def name(self) -> str:
        """The name of the keys, which is also what the origin of each log begins with."""

    def sign(self, text: str) -> str:
        """Return the note: the text, an empty line, and a signature line of each key in force."""


class Verifier(Protocol):
    """Tells whether a checkpoint is one of ours."""

    def verify(self, checkpoint: Checkpoint) -> bool:
        """Tell whether its note says what the checkpoint says, signed by a key of ours, an older one too."""


class Witness(Protocol):
    """Keeps checkpoints where the operator of this service cannot change them."""

    def send(self, checkpoint: Checkpoint) -> None:
        """Hand a checkpoint over for good. May be called again. Raises OSError."""


def origin_of(signer: Signer, client_ext_id: str) -> str:
    """Return the name of a client's log: each has one of its own."""
    return f"{signer.name}/{quote(client_ext_id, safe='')}"


def checkpoint_text(origin: str, size: int, root: bytes, heads: tuple[int, bytes] | None) -> str:
    """Return what is signed. heads: how many streams there are, and the root over their heads."""
    lines = [origin, str(size), base64.b64encode(root).decode()]
    if heads:
        lines.append(f"heads {heads[0]} {base64.b64encode(heads[1]).decode()}")
    return "\n".join(lines) + "\n"


def make_checkpoint(
    client_ext_id: str, *, ledger: Ledger, signer: Signer, clock: Clock, with_heads: bool = False
) -> Checkpoint | None:
    """Sign the ledger of a client as it is now, and keep that; None where there is nothing to sign.

    with_heads: also over the newest version of every stream, which makes completeness provable but takes as long
    as going through the whole ledger. Raises LedgerBroken where the ledger does not go on from the newest
    checkpoint: then nothing is signed. Raises StoreUnavailable.
    """
    size, newest = ledger.size(client_ext_id), ledger.newest_checkpoint(client_ext_id)
    if newest is None and size == 0:
        return None
    tree = LedgerTree(ledger, client_ext_id)
    if newest is not None:
        _check(newest, size, tree)
        if newest.size == size and (not with_heads or "\nheads " in newest.note):
            return newest
    begin = newest.size // TILE if newest else 0
    tiles = [tree.computed_tile(number) for number in range(begin, size // TILE)]
    ledger.save_tiles(client_ext_id, begin, tiles)
    root = tree.subtree(0, size)
    heads = None
    if with_heads:
        streams = ledger.heads(client_ext_id, size)
        heads = (len(streams), root_of(head_leaf(*head) for head in streams))
    text = checkpoint_text(origin_of(signer, client_ext_id), size, root, heads)
    checkpoint = Checkpoint(client_ext_id, size, root, signer.sign(text), clock())
    ledger.save_checkpoint(checkpoint)
    return checkpoint


def _check(newest: Checkpoint, size: int, tree: LedgerTree) -> None:
    if newest.size > size:
        raise LedgerBroken(
            f"the ledger of {newest.client_ext_id!r} has {size} entries, but {newest.size} were signed"
        )
    if tree.subtree(0, newest.size) != newest.root:
        raise LedgerBroken(
            f"the first {newest.size} entries of the ledger of {newest.client_ext_id!r} are not those that were signed"
        )


def make_checkpoints(
    *,
    ledger: Ledger,
    signer: Signer,
    clock: Clock,
    every_events: int,
    every: timedelta,
    make: Callable[..., Checkpoint | None] = make_checkpoint,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Sign the ledger of each client that has grown enough, or a while ago. Returns how many were made.

    One that is broken is logged as an error, each time, and holds up no other. stopped: looked at before each client.
    Raises StoreUnavailable.
    """
    made = 0
    for client_ext_id, size in ledger.sizes():
        if stopped():
            break
        try:
            newest = ledger.newest_checkpoint(client_ext_id)
            grown = size - newest.size if newest else size
            # One from the future is of before the clock was set back, and would put off the next until then.
            recent = newest is not None and timedelta() <= clock() - newest.made < every
            due = grown >= every_events or not recent
            if grown >= 0 and not (due and grown):
                continue
            make(client_ext_id, ledger=ledger, signer=signer, clock=clock)
            made += 1
        except LedgerBroken:
            log.exception("no checkpoint of client %r was signed", client_ext_id)
    return made


class CheckpointSender:
    """Sends checkpoints to witnesses, each of which gets its turn although another fails.

    In the store a checkpoint counts as sent once all have it. Who has one that another lacks is remembered here, and no
    longer than this process lives: after that it gets it again, which every witness takes.
    """

    def __init__(self, ledger: Ledger, witnesses: Sequence[Witness]) -> None:
        self._ledger = ledger
        self._witnesses = witnesses
        self._have: dict[Checkpoint, set[int]] = {}
        self._place: tuple[str, int] | None = None

    def run(self, stopped: Callable[[], bool] = lambda: False) -> int:
        """Send what was not sent, some of it where it is much. Returns of how many there is no more to do.

        A witness that fails is asked no more in this run, so that one that hangs costs its patience once. The next run goes
        on behind where this one ended, so that what one witness does not take keeps nothing behind it from anybody.
        stopped: looked at before each that is sent. Raises StoreUnavailable.
        """
        done, failing = 0, set[int]()
        for checkpoint in self._next():
            for number, witness in enumerate(self._witnesses):
                if stopped() or len(failing) == len(self._witnesses):
                    return done
                if number not in failing and not self._send(checkpoint, number, witness):
                    failing.add(number)
            self._place = (checkpoint.client_ext_id, checkpoint.size)
            if len(self._have[checkpoint]) == len(self._witnesses):
                self._ledger.mark_sent(checkpoint)
                del self._have[checkpoint]
                done += 1
        return done

    def _next(self) -> Sequence[Checkpoint]:
        if not self._witnesses:
            return []
        behind = self._ledger.unsent_checkpoints(self._place, _PAGE) if self._place else []
        return behind or self._ledger.unsent_checkpoints(None, _PAGE)

    def _send(self, checkpoint: Checkpoint, number: int, witness: Witness) -> bool:
        if checkpoint not in self._have and len(self._have) >= _REMEMBERED:
            self._have.clear()
        having = self._have.setdefault(checkpoint, set())
        if number in having:
            return True
        try:
            witness.send(checkpoint)
        except OSError as error:
            log.warning("a checkpoint of %r is not sent yet: %s", checkpoint.client_ext_id, error)
            return False
        having.add(number)
        return True
