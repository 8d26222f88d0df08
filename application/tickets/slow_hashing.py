"""Computes slow hashes beside the event loop, one at a time, so that they cannot starve other requests."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from application.shared.errors import Overloaded
from application.tickets.minting import SlowHash, SlowWork
from application.transaction.command import Answer, Command

# Each needs 46 MiB and about 30 ms of one core.
MAX_QUEUED = 64


class SlowHashing:
    """Runs commands, and computes their slow hashes in a thread."""

    def __init__(self, execute: Callable[[Command], Awaitable[Answer]], slow_hash: SlowHash) -> None:
        self._execute = execute
        self._slow_hash = slow_hash
        self._thread = ThreadPoolExecutor(1, "slow-hash")
        self._unfinished = 0

    async def execute(self, command: Command) -> Answer:
        """Run a command, and compute the slow hashes that it needs. Raises Unavailable (including Overloaded)."""
        while True:
            try:
                return await self._execute(command)
            except SlowWork as work:
                command = await self._finish(work)

    async def _finish(self, work: SlowWork) -> Command:
        if self._unfinished > MAX_QUEUED:
            raise Overloaded("Too many requests wait for a slow hash.")
        self._unfinished += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, work.finish, self._slow_hash)
        finally:
            self._unfinished -= 1
