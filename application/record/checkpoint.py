"""Checkpoints: signed tree heads of a client's ledger (C2SP tlog-checkpoint and signed-note)."""

import base64
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import quote, unquote

from application.record.ledger import TILE, Checkpoint, Ledger, LedgerBroken, LedgerTree
from application.record.stream_heads import StreamHeads
from application.shared.faults import log_fault
from application.shared.ports import Clock

_PAGE = 500
# The maximum of checkpoints tracked per witness; beyond it, witnesses receive some checkpoints again.
_MAX_REMEMBERED = 20_000
_LONGEST_PAUSE = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedKey:
    """A verifier key of the ledger. since, until: the time in which it signs; None: it is the current one.

    fingerprint: eight groups of four hexadecimal digits, to compare over the telephone; see docs/evidence.md.
    """

    verifier_key: str
    fingerprint: str
    since: datetime
    until: datetime | None


class Signer(Protocol):
    """Signs notes with the service's ledger keys."""

    @property
    def name(self) -> str:
        """The name of the keys; also the prefix of the origin of each ledger."""

    def sign(self, text: str) -> str:
        """Return the note: the text, an empty line, and one signature line per active key."""


class Verifier(Protocol):
    """Verifies the checkpoints of this service."""

    def verify(self, checkpoint: Checkpoint) -> bool:
        """Return whether the note matches the checkpoint and a current or previous key of this service signed it."""


class Witness(Protocol):
    """Stores checkpoints where the operator of this service cannot change them."""

    @property
    def is_remote(self) -> bool:
        """Whether each attempt is a request to another server, which is sent less and less often while it fails."""

    def send(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint durably; idempotent. Raises OSError."""


def origin_of(signer: Signer, client_ext_id: str) -> str:
    """Return the origin of a client's ledger."""
    return f"{signer.name}/{quote(client_ext_id, safe='')}"


def checkpoint_text(origin: str, size: int, root: bytes, heads: tuple[int, bytes] | None) -> str:
    """Return the text to sign. heads: the number of streams and the root of the tree of their heads."""
    lines = [origin, str(size), base64.b64encode(root).decode()]
    if heads:
        lines.append(f"heads {heads[0]} {base64.b64encode(heads[1]).decode()}")
    return "\n".join(lines) + "\n"


def parse_checkpoint_text(note: str) -> tuple[str, int, bytes]:
    """Return client, size and root of a checkpoint, whose signature is not verified. Raises ValueError."""
    origin, size, root, *_ = note.split("\n")
    if not (size.isascii() and size.isdecimal()):
        raise ValueError("the second line of a checkpoint is a size")
    return unquote(origin.rpartition("/")[2]), int(size), base64.b64decode(root, validate=True)


def make_checkpoint(
    client_ext_id: str, *, ledger: Ledger, signer: Signer, clock: Clock, heads: StreamHeads | None = None
) -> Checkpoint | None:
    """Sign the current ledger of a client and store the checkpoint; None: the ledger is empty.

    heads: also sign the newest version of every stream, which makes completeness provable. Raises LedgerBroken, without
    signing, if the ledger does not extend the newest checkpoint; StoreUnavailable.
    """
    # In this order: another process may sign more entries in between.
    newest = ledger.newest_checkpoint(client_ext_id)
    size = ledger.size(client_ext_id)
    if newest is None and size == 0:
        return None
    tree = LedgerTree(ledger, client_ext_id)
    if newest is not None:
        _check(newest, size, tree)
        if newest.size == size and (heads is None or "\nheads " in newest.note):
            return newest
    begin = newest.size // TILE if newest else 0
    tiles = [tree.computed_tile(number) for number in range(begin, size // TILE)]
    ledger.save_tiles(client_ext_id, begin, tiles)
    root = tree.subtree(0, size)
    signed_heads = heads.root(client_ext_id, size, ledger) if heads else None
    text = checkpoint_text(origin_of(signer, client_ext_id), size, root, signed_heads)
    checkpoint = Checkpoint(client_ext_id, size, root, signer.sign(text), clock())
    ledger.save_checkpoint(checkpoint)
    return checkpoint


def _check(newest: Checkpoint, size: int, tree: LedgerTree) -> None:
    if newest.size > size:
        raise LedgerBroken(
            f"the ledger of {newest.client_ext_id!r} has {size} entries, but a checkpoint covers {newest.size}"
        )
    if tree.subtree(0, newest.size) != newest.root:
        raise LedgerBroken(
            f"the first {newest.size} entries of the ledger of {newest.client_ext_id!r} differ from the signed ones"
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
    """Sign each ledger that has grown by `every_events`, or whose checkpoint is older than `every`.

    Returns the number of new checkpoints. A broken ledger is logged as an error each time and does not affect the others.
    `stopped` is called before each client. Raises StoreUnavailable.
    """
    made = 0
    for client_ext_id, size in ledger.sizes():
        if stopped():
            break
        try:
            newest = ledger.newest_checkpoint(client_ext_id)
            grown = size - newest.size if newest else size
            # A checkpoint from the future (the clock was set back) must not delay the next one.
            recent = newest is not None and timedelta() <= clock() - newest.made < every
            due = grown >= every_events or not recent
            if grown >= 0 and not (due and grown):
                continue
            make(client_ext_id, ledger=ledger, signer=signer, clock=clock)
            made += 1
        except LedgerBroken:
            log.exception("the ledger of client %r is broken; no checkpoint was signed", client_ext_id)
    return made


class CheckpointSender:
    """Sends checkpoints to the witnesses; a failing witness does not affect the others.

    The store marks a checkpoint as sent when every witness has received it. Partial progress is kept in memory only; after a
    restart a witness may receive a checkpoint again.
    """

    def __init__(self, ledger: Ledger, witnesses: Sequence[Witness]) -> None:
        self._ledger = ledger
        self._witnesses = witnesses
        self._have: dict[Checkpoint, set[int]] = {}
        self._failures: dict[int, int] = {}
        self._pauses: dict[int, int] = {}
        self._place: tuple[str, int] | None = None

    def run(self, stopped: Callable[[], bool] = lambda: False) -> int:
        """Send a page of unsent checkpoints. Returns the number of checkpoints that every witness now has.

        A failing witness is skipped for the rest of the run, so that a time-out occurs once, and a remote one after its
        second consecutive failure also for the next runs: 1, 3, 7 … 63 of them. The next run continues after the last checkpoint
        of this one, so that a rejected checkpoint does not block later ones. `stopped` is called before each send. Raises
        StoreUnavailable.
        """
        done, failing = 0, {number for number, pause in self._pauses.items() if pause}
        self._pauses = {number: self._pauses[number] - 1 for number in failing}
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
        if checkpoint not in self._have and len(self._have) >= _MAX_REMEMBERED:
            self._have.clear()
        holders = self._have.setdefault(checkpoint, set())
        if number in holders:
            return True
        try:
            witness.send(checkpoint)
        except OSError as error:
            log.warning("a checkpoint of %r could not be sent: %s", checkpoint.client_ext_id, error)
        except Exception as error:  # noqa: BLE001 - the response is foreign; another witness must get its checkpoints
            log_fault(log, f"a checkpoint of {checkpoint.client_ext_id!r} could not be sent", error)
        else:
            self._failures.pop(number, None)
            holders.add(number)
            return True
        if witness.is_remote:
            failures = self._failures[number] = self._failures.get(number, 0) + 1
            self._pauses[number] = min(_LONGEST_PAUSE, 2 ** (failures - 1)) - 1
        return False
