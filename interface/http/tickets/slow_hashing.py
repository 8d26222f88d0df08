"""Slow hashes in threads, a limited number at a time, so that they cannot starve other requests."""

from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread

from application.shared.errors import Overloaded
from application.tickets.minting import SlowHash, SlowWork
from application.transaction.command import Answer, Command

# Each takes 46 MiB and about 30 ms of one core.
AT_A_TIME = 1
MAX_WAITING = 64


class SlowHashing:
    """Runs commands, and does their slow work in threads."""

    def __init__(self, execute: Callable[[Command], Awaitable[Answer]], slow_hash: SlowHash) -> None:
        self._execute = execute
        self._slow_hash = slow_hash
        self._limiter = anyio.CapacityLimiter(AT_A_TIME)

    async def execute(self, command: Command) -> Answer:
        """Run a command, with its slow work if it has any. Raises Unavailable (Overloaded among them)."""
        while True:
            try:
                return await self._execute(command)
            except SlowWork as work:
                command = await self._finish(work)

    async def _finish(self, work: SlowWork) -> Command:
        if self._limiter.statistics().tasks_waiting >= MAX_WAITING:
            raise Overloaded("Too many requests wait for a slow hash.")
        return await anyio.to_thread.run_sync(work.finish, self._slow_hash, limiter=self._limiter)
