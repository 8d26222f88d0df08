"""Process the items of the running bulk jobs, in one process at a time.

Only the process that holds the lease works, so it alone keeps the pace; another process takes over when it dies. The
outcome of an item is stored in the transaction of its reset (reset_item.py), so neither a crash nor a lost lease repeats an
item. The work is done in small batches; while callers send commands to this process, the batches are smaller still, and
the worker pauses after each of them.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from application.bulk.control_job import FinishBulkJob
from application.bulk.records import BulkJobs, pending_users
from application.bulk.reset_item import ResetItem, item_command
from application.shared.errors import RowRefused, ShareUsed
from application.shared.waiting import is_set_within
from application.transaction.command import Answer, Command
from application.transaction.leased_work import work_under_lease
from application.transaction.store import Lease, Store
from domain.bulk.bulk_job import JobKey, JobState
from domain.shared.subject import Subject

ACTOR = "tickets bulk"
LEASE = "bulk"
# A transaction of more items would delay the command of a caller in another process for longer.
BATCH = 32
# While callers send commands to this process, and for a time after.
_BATCH_BESIDE_CALLERS = 2
_CALLERS_SECONDS = 2
_PAUSE_FACTOR = 1.0
# With a pace, the least number of batches per second, and the most items of one.
_BATCHES_PER_SECOND = 10
_PACED_BATCH = 8
_CHECK_LEASE_SECONDS = 1

log = logging.getLogger(__name__)


class Pace:
    """The minimum of seconds between the begins of two batches, so that no second has more items than the pace.

    It does not catch up: time that was lost stays lost. clock: monotonic, in seconds.
    """

    def __init__(self, per_second: int | None, clock: Callable[[], float]) -> None:
        self.batch, self._interval = BATCH, 0.0
        if per_second is not None:
            self.batch = max(1, min(_PACED_BATCH, per_second // _BATCHES_PER_SECOND))
            # An integral number of batches per second, since a second that begins with a batch has one more.
            self._interval = 1 / (per_second // self.batch)
        self._clock = clock
        # The former holder of the lease may have begun a batch a moment ago.
        self._next = clock() + self._interval

    def delay(self) -> float:
        """Return the seconds until the next batch may begin."""
        return max(0.0, self._next - self._clock())

    def begin(self) -> None:
        """Record that a batch begins now."""
        self._next = self._clock() + self._interval


@dataclass
class BulkWorker:
    """Processes the items of all running jobs; see the module.

    execute: runs a command with the slow hash that it needs. commands: returns the number of commands that this process
    was sent, also by this worker. clock: monotonic, in seconds. observe: receives the job after each batch.
    """

    store: Store
    jobs: BulkJobs
    execute: Callable[[Command], Awaitable[Answer]]
    commands: Callable[[], int]
    new_command_id: Callable[[], str]
    clock: Callable[[], float] = time.monotonic
    observe: Callable[[JobState], None] = lambda _: None
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _sent: int = 0
    _seen: int = 0
    _callers_until: float = 0

    def wake(self) -> None:
        """Look for jobs now. Call it on the event loop only."""
        self._woken.set()

    async def run(self) -> None:
        """Work while this process holds the lease; runs until cancelled."""
        await work_under_lease(self.store, LEASE, self._work_while, "processing bulk jobs", log)

    async def _work_while(self, lease: Lease) -> None:
        running: dict[JobKey, asyncio.Task[None]] = {}
        try:
            while await asyncio.to_thread(lease.holds):
                self._woken.clear()
                found = {job.key: job for job in await asyncio.to_thread(self.jobs.running_bulk_jobs)}
                for key, task in [*running.items()]:
                    if task.done():
                        del running[key]
                        if not task.cancelled():
                            task.result()
                    elif key not in found:
                        task.cancel()
                for key, job in found.items():
                    if key not in running:
                        running[key] = asyncio.create_task(self._process(job))
                await is_set_within(self._woken, _CHECK_LEASE_SECONDS)
            log.warning("lost the lease; another process continues the bulk jobs")
        finally:
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)

    async def _process(self, job: JobState) -> None:
        """Process the pending items of a job, in order; and finish it if no item failed."""
        pace, after, is_complete = Pace(job.pace, self.clock), 0, True
        while True:
            after, pending = await asyncio.to_thread(pending_users, job.key, after, self.jobs)
            if not after:
                break
            commands = [item_command(job, number, user) for number, user in pending]
            while commands:
                await asyncio.sleep(pace.delay())
                pace.begin()
                # With a pace, a smaller batch would only make the job slower.
                size = pace.batch if job.pace else self._batch_size()
                batch, commands = commands[:size], commands[size:]
                is_complete &= await self._process_batch(job, batch)
        if is_complete:
            await self._finish(job)
            self.observe(job)

    async def _process_batch(self, job: JobState, batch: Sequence[ResetItem]) -> bool:
        """Return whether each item was processed."""
        began = self.clock()
        results = await asyncio.gather(*map(self._execute, batch), return_exceptions=True)
        self.observe(job)
        if self._callers_until > self.clock():
            await asyncio.sleep((self.clock() - began) * _PAUSE_FACTOR)
        failed = [result for result in results if isinstance(result, BaseException)]
        for error in failed:
            if not isinstance(error, RowRefused | ShareUsed):  # logged by the store; temporary
                raise error
        return not failed

    async def _execute(self, command: Command) -> Answer:
        self._sent += 1
        return await self.execute(command)

    def _batch_size(self) -> int:
        """Return the size of the next batch: smaller while callers send commands."""
        others = self.commands() - self._sent
        if others != self._seen:
            self._seen, self._callers_until = others, self.clock() + _CALLERS_SECONDS
        return _BATCH_BESIDE_CALLERS if self._callers_until > self.clock() else BATCH

    async def _finish(self, job: JobState) -> None:
        command = FinishBulkJob(
            subject=Subject(job.client_ext_id),
            actor=ACTOR,
            correlation_id=job.correlation_id,
            command_id=self.new_command_id(),
            request_digest="",
            job=job.job,
        )
        (await self.execute(command)).unwrap()
