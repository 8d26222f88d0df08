"""Bulk jobs over a service of the tests."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from application.bulk.control_job import Action, ControlBulkJob
from application.bulk.start_reset import StartBulkReset
from application.bulk.worker import BulkWorker
from application.tickets.slow_hashing import SlowHashing
from application.transaction.command import Answer, Command
from domain.bulk.bulk_job import JobKey, JobState
from domain.shared.subject import Subject
from tests.support.fakes import SUBJECT, FakeSlowHash
from tests.support.service import Service, command

CLIENT = SUBJECT.client_ext_id
JOB = JobKey(CLIENT, "job-1")


def given_users(service: Service, count: int, **ticket: Any) -> list[str]:
    """Register users with tickets, and return their ids."""
    users = [f"user-{number}" for number in range(1, count + 1)]
    for user in users:
        service.register(subject=Subject(CLIENT, user))
        service.create(subject=Subject(CLIENT, user), **ticket)
    return users


def started(service: Service, users: Sequence[str], **changes: Any) -> Answer:
    """Start the job."""
    terms = {"subject": Subject(CLIENT), "job": JOB.job, "users": tuple(users), **changes}
    return service.execute(command(StartBulkReset, **terms))


def controlled(service: Service, action: Action, **changes: Any) -> Answer:
    """Pause, resume or cancel the job."""
    terms = {"subject": Subject(CLIENT), "job": JOB.job, "action": action, **changes}
    return service.execute(command(ControlBulkJob, **terms))


def processed(service: Service, key: JobKey = JOB, **worker: Any) -> JobState:
    """Run a worker until the job has ended. Returns the job."""
    return asyncio.run(_process(service, key, worker))


async def _process(service: Service, key: JobKey, changes: dict[str, Any]) -> JobState:
    async def execute(command: Command) -> Answer:
        return await asyncio.wrap_future(service.commands.submit(command))

    def observe(_: JobState) -> None:
        found = service.store.bulk_job(key)
        if found and found.has_ended and not done.done():
            done.set_result(found)

    hashing, done = SlowHashing(execute, FakeSlowHash()), asyncio.get_running_loop().create_future()
    terms: dict[str, Any] = {
        "store": service.store,
        "jobs": service.store,
        "execute": hashing.execute,
        "commands": lambda: hashing.executed,
        "new_command_id": lambda: service.randomness.uuid().hex,
        "observe": observe,
    }
    running = asyncio.create_task(BulkWorker(**{**terms, **changes}).run())
    try:
        found: JobState = await done
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    return found
