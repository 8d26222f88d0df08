"""Background jobs: expiry and checkpoints."""

import asyncio
import random
import secrets
import signal
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from application.record.checkpoint import CheckpointSender, Witness, make_checkpoints
from application.shared.retries import Retries
from application.tickets.expire_tickets import ExpiryReport, expire_tickets
from application.transaction.command import Answer, Command
from interface.composition.service import Running
from interface.http.core.envelope import new_traceparent
from interface.outbound.http_out.witnesses import CheckpointDirectory, CheckpointWebhook, TimeStampAuthority
from interface.outbound.system import system_clock
from interface.settings import Settings


def expire(
    running: Running,
    submit: Callable[[Command], Future[Answer]],
    stopped: Callable[[], bool] = lambda: False,
) -> ExpiryReport | None:
    """Record which tickets expire soon and which have expired; None if another process runs the job."""
    return expire_tickets(
        store=running.store,
        tickets=running.store,
        clock=system_clock,
        submit=submit,
        new_command_id=lambda: secrets.token_hex(16),
        correlation_id=new_traceparent(),
        stopped=stopped,
    )


def witnesses(settings: Settings) -> list[Witness]:
    """Return the witnesses, which keep checkpoints outside the operator's control."""
    found: list[Witness] = []
    if settings.checkpoint_dir:
        found.append(CheckpointDirectory(settings.checkpoint_dir))
        if settings.checkpoint_tsa:
            found.append(TimeStampAuthority(settings.checkpoint_tsa, settings.checkpoint_dir))
    if settings.checkpoint_webhook:
        found.append(CheckpointWebhook(settings.checkpoint_webhook))
    return found


def sign_ledgers(running: Running, stopped: Callable[[], bool]) -> None:
    """Sign every ledger that has grown, unless another process runs the job."""
    settings = running.settings
    with running.store.lease("checkpoints") as held:
        if held:
            make_checkpoints(
                ledger=running.store,
                signer=running.keys,
                clock=system_clock,
                every_events=settings.checkpoint_every_events,
                every=timedelta(seconds=settings.checkpoint_every_seconds),
                stopped=stopped,
            )


def send_signed(
    running: Running,
    sending: CheckpointSender,
    report: Callable[[datetime | None], None],
    stopped: Callable[[], bool],
) -> None:
    """Send signed checkpoints to the witnesses, unless another process runs the job.

    report: called with the time of the oldest signed checkpoint that is not sent; None: no such checkpoint, or another
    process holds the lease.
    """
    with running.store.lease("witnesses") as held:
        since = running.store.unsent_since() if held else None
        report(since)
        # Otherwise, a checkpoint signed in between would be sent without being reported.
        if since:
            sending.run(stopped)


def retries(first_seconds: float, longest_seconds: float, give_up_hours: float) -> Retries:
    """Return the retry schedule."""
    return Retries(
        first=timedelta(seconds=first_seconds),
        longest=timedelta(seconds=longest_seconds),
        give_up_after=timedelta(hours=give_up_hours),
        jitter=random.SystemRandom().random,
    )


async def until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Do the work until a stop signal."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    task = loop.create_task(work)
    await stopped.wait()
    await cancelled(task)


async def cancelled(task: "asyncio.Task[None]") -> None:
    """Cancel a task, and wait until it has ended."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
