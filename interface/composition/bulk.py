"""Composes the processing of bulk jobs, and the action of its command."""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

import typer

from application.bulk.control_job import Action, ControlBulkJob
from application.bulk.dry_run import DryRun, dry_run
from application.bulk.job_response import BulkJobResponse
from application.bulk.read_jobs import read_bulk_job
from application.bulk.records import BULK_JOBS
from application.bulk.start_reset import StartBulkReset, check_users
from application.bulk.user_rows import users_in
from application.bulk.worker import BulkWorker
from application.tickets.regenerate_ticket import RegenerateTicket
from application.tickets.slow_hashing import SlowHashing
from application.transaction.group_commit import Background
from domain.bulk.bulk_job import JobKey, JobStatus, digest_of
from domain.shared.subject import Subject
from interface.cli.bulk import commands
from interface.cli.bulk.commands import Reset
from interface.composition.installation import operator
from interface.composition.service import RunningService, in_background
from interface.outbound.keys.argon2_hash import Argon2Hash
from interface.outbound.system import system_clock
from interface.settings import read_settings
from interface.trace_context import new_traceparent

_POLL_INTERVAL_SECONDS = 0.2


async def process_bulk_jobs(running: RunningService, hashing: SlowHashing) -> None:
    """Process bulk jobs until cancelled. hashing: runs the commands of the callers, too."""
    worker = BulkWorker(
        store=running.store,
        jobs=running.store,
        execute=hashing.execute,
        commands=lambda: hashing.executed,
        new_command_id=_new_id,
    )
    running.listeners.register(worker.wake, BULK_JOBS)
    await worker.run()


def reset(wanted: Reset, chunks: Iterable[bytes], report: Callable[[int, int], None]) -> BulkJobResponse:
    """Start or continue the job of a file, and follow it until it ends or is paused. An interrupt pauses it.

    The job is that of the client, the operator and the users: the same file continues it. Raises InvalidBulkFile,
    BulkCountDiffers, BulkUsersRefused, Unavailable, InvalidSettings.
    """
    users = users_in(chunks, wanted.form)
    # Before the command, whose refusal would be stored as the answer for this file.
    check_users(users, wanted.expected_count)
    with in_background(read_settings(), with_outbox=True) as (running, background):
        key = _started(wanted, users, background)
        state = running.store.bulk_job(key)
        if state and state.status is JobStatus.PAUSED:
            _control(key, Action.RESUME, background)
        hashing = SlowHashing(running.commands.execute, Argon2Hash())
        working = background.begin(process_bulk_jobs(running, hashing))
        try:
            _follow(key, running, report)
        except KeyboardInterrupt:
            _control(key, Action.PAUSE, background)
        finally:
            working.cancel()
            with suppress(CancelledError):
                working.result()
        return read_bulk_job(key, jobs=running.store, clock=system_clock)


def try_reset(wanted: Reset, chunks: Iterable[bytes]) -> DryRun:
    """Return the result that the job of a file would have now. Raises the same as `reset`."""
    users = users_in(chunks, wanted.form)
    check_users(users, wanted.expected_count)
    settings = read_settings()
    item = RegenerateTicket(**_context(wanted.client_ext_id))
    with in_background(settings) as (running, _):
        return dry_run(
            users,
            item,
            {},
            store=running.store,
            clock=system_clock,
            max_daily_deliveries=settings.max_daily_deliveries,
        )


def _started(wanted: Reset, users: tuple[str, ...], background: Background) -> JobKey:
    """Return the job of these users, which is started if it does not exist."""
    nonce = _new_id() if wanted.again else ""
    named = "\x1f".join((wanted.client_ext_id, operator(), digest_of(users), nonce))
    command_id = hashlib.sha256(named.encode()).hexdigest()
    command = StartBulkReset(
        **{**_context(wanted.client_ext_id), "command_id": command_id, "request_digest": command_id},
        retryable=True,
        reason=wanted.comment,
        job=command_id[:32],
        users=users,
        pace=wanted.pace,
    )
    background.execute(command)
    return command.job_key


def _control(key: JobKey, action: Action, background: Background) -> None:
    background.execute(ControlBulkJob(**_context(key.client_ext_id), job=key.job, action=action))


def _follow(key: JobKey, running: RunningService, report: Callable[[int, int], None]) -> None:
    while (state := running.store.bulk_job(key)) and state.status is JobStatus.RUNNING:
        report(sum(running.store.bulk_outcomes(key).values()), state.user_count)
        time.sleep(_POLL_INTERVAL_SECONDS)


def _context(client_ext_id: str) -> dict[str, Any]:
    command_id = _new_id()
    return {
        "subject": Subject(client_ext_id),
        "actor": operator(),
        "correlation_id": new_traceparent(),
        "command_id": command_id,
        "request_digest": command_id,
    }


def _new_id() -> str:
    return secrets.token_hex(16)


def add_commands(cli: typer.Typer) -> None:
    """Add the command."""
    commands.add_commands(cli, commands.BulkActions(reset=reset, try_reset=try_reset))
