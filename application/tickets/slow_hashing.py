"""Computes slow hashes beside the event loop, one at a time, so that they cannot starve other requests."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from application.shared.errors import Overloaded, ShareUsed
from application.tickets.fair_queue import ClientQueueFull, FairQueue, QueueFull
from application.tickets.minting import SlowHash, SlowWork
from application.transaction.command import Answer, Command

# Each needs 46 MiB and about 30 ms of one core: a client alone waits for 2 s at most.
MAX_WAITING_PER_CLIENT = 64
MAX_WAITING = 512
_SHARE_USED = (
    f"At most {MAX_WAITING_PER_CLIENT} requests of one client, shared by its callers, wait for a slow hash (ARGON2ID)."
    " Retry later."
)
_ALL_USED = (
    f"At most {MAX_WAITING} requests of all clients wait for a slow hash (ARGON2ID), and this client has the most."
    " Retry later."
)


class SlowHashObserver:
    """Receives each wait for a turn, in seconds, and each refusal; this one ignores them."""

    def waited(self, seconds: float) -> None:
        """Record the wait of a request that got its turn."""

    def refused(self) -> None:
        """Record a request that was refused, since too many wait."""


class SlowHashing:
    """Runs commands, and computes their slow hashes in a thread. Clients take turns, and the callers of each client.

    clock: monotonic, in seconds. prepare_thread: called in the thread before its first hash.
    """

    def __init__(
        self,
        execute: Callable[[Command], Awaitable[Answer]],
        slow_hash: SlowHash,
        observer: SlowHashObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
        prepare_thread: Callable[[], None] = lambda: None,
    ) -> None:
        self._execute = execute
        self._slow_hash = slow_hash
        self._observer = observer or SlowHashObserver()
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "slow-hash", initializer=prepare_thread)
        self._queue = FairQueue[tuple[str, asyncio.Future[None]]](MAX_WAITING_PER_CLIENT, MAX_WAITING)
        self._is_busy = False
        self._executed = 0

    @property
    def executed(self) -> int:
        """The number of commands that were given to this object."""
        return self._executed

    async def execute(self, command: Command) -> Answer:
        """Run a command, and compute the slow hashes that it needs. Raises Unavailable (including Overloaded), ShareUsed."""
        self._executed += 1
        while True:
            try:
                return await self._execute(command)
            except SlowWork as work:
                command = await self._finish(work, command)

    async def _finish(self, work: SlowWork, command: Command) -> Command:
        began = self._clock()
        if self._is_busy:
            try:
                await self._turn(command.subject.client_ext_id, command.actor)
            except (ShareUsed, Overloaded):
                self._observer.refused()
                raise
        self._is_busy = True
        # From here on, this request has the turn: an observer that raises must not keep it.
        try:
            self._observer.waited(self._clock() - began)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, work.finish, self._slow_hash)
        finally:
            self._pass_on()

    async def _turn(self, client: str, caller: str) -> None:
        """Wait for the turn of a request. Raises ShareUsed, Overloaded."""
        turn = asyncio.get_running_loop().create_future()
        try:
            displaced = self._queue.put(client, caller, (client, turn))
        except ClientQueueFull:
            raise ShareUsed(_SHARE_USED) from None
        except QueueFull:
            raise Overloaded("Too many requests wait for a slow hash.") from None
        if displaced:
            loser, lost = displaced
            if not lost.done():
                lost.set_exception(ShareUsed(_SHARE_USED if loser == client else _ALL_USED))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give the turn to the next request that still waits."""
        while taken := self._queue.take():
            _, turn = taken
            if not turn.done():
                turn.set_result(None)
                return
        self._is_busy = False
