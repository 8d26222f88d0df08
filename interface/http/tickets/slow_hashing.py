"""Slow hashes beside the event loop, and few at a time, so that they cannot starve other requests."""

import anyio
import anyio.to_thread

from application.shared.errors import Overloaded
from application.tickets.minting import SlowHash, SlowWork
from application.transaction.command import Command

# Each takes 46 MiB and some 30 ms of one core.
AT_A_TIME = 1
MAX_WAITING = 64


class SlowHashing:
    """Does the slow work of commands in threads."""

    def __init__(self, slow_hash: SlowHash) -> None:
        self._slow_hash = slow_hash
        self._limiter = anyio.CapacityLimiter(AT_A_TIME)

    async def finish(self, work: SlowWork) -> Command:
        """Return the command with what it needed. Raises Overloaded."""
        if self._limiter.statistics().tasks_waiting >= MAX_WAITING:
            raise Overloaded("Too many requests wait for a slow hash.")
        return await anyio.to_thread.run_sync(work.finish, self._slow_hash, limiter=self._limiter)
