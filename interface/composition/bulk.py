"""Composes the processing of bulk jobs."""

import secrets

from application.bulk.records import BULK_JOBS
from application.bulk.worker import BulkWorker
from application.tickets.slow_hashing import SlowHashing
from interface.composition.service import RunningService


async def process_bulk_jobs(running: RunningService, hashing: SlowHashing) -> None:
    """Process bulk jobs until cancelled. hashing: runs the commands of the callers, too."""
    worker = BulkWorker(
        store=running.store,
        jobs=running.store,
        execute=hashing.execute,
        commands=lambda: hashing.executed,
        new_command_id=lambda: secrets.token_hex(16),
    )
    running.listeners.register(worker.wake, BULK_JOBS)
    await worker.run()
