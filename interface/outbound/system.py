"""The machine's clock, randomness and processors."""

import logging
import os
import random
import secrets
import threading
import uuid
from datetime import UTC, datetime

# A tenth of the share of another thread: with 19, a queue of slow hashes would not end on a machine without an idle core.
_NICE = 10

jitter = random.SystemRandom().random

log = logging.getLogger(__name__)

_BLOCK_BYTES = 64
_READ_BYTES = 4096
# Octets that were read and not yet returned. A child process must not return the same ones.
_blocks: list[bytes] = []
os.register_at_fork(after_in_child=_blocks.clear)


def system_clock() -> datetime:
    """Return the time now, aware UTC."""
    return datetime.now(UTC)


def prefer_other_threads() -> None:
    """Lower the priority of the calling thread: while all cores are busy, it gets a tenth of the time of another thread.

    On Linux, each thread has a nice value. A sandbox can forbid the call, as the unit of systemd does: the thread then keeps
    its priority, which is logged.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
    except OSError as error:
        log.info("slow hashes keep the priority of other threads: %s", error)


class SystemRandomness:
    """The operating system's cryptographic source, read 4 KiB at a time, since each system call costs as much as a hash.

    An octet leaves the buffer before it is returned. A copy of a running virtual machine copies the buffer, too: the nonces of seals,
    of which none may repeat, do not come from it.
    """

    def below(self, bound: int) -> int:
        """Return a uniformly random integer in [0, bound)."""
        return secrets.randbelow(bound)

    def octets(self, count: int) -> bytes:
        """Return that many random bytes."""
        if count <= _BLOCK_BYTES:
            return _block()[:count]
        return b"".join([_block() for _ in range(0, count, _BLOCK_BYTES)])[:count]

    def uuid(self) -> uuid.UUID:
        """Return a random UUID (version 4)."""
        return uuid.UUID(bytes=self.octets(16), version=4)


def _block() -> bytes:
    """Take a block from the buffer. Threads take different ones, since `pop` is atomic."""
    while True:
        try:
            return _blocks.pop()
        except IndexError:
            read = os.urandom(_READ_BYTES)
            _blocks.extend(
                read[begin : begin + _BLOCK_BYTES] for begin in range(0, _READ_BYTES, _BLOCK_BYTES)
            )
