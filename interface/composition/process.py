"""Processes: their signals, their stop and their garbage collection."""

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any

from interface.composition.workers import SIGNALLED

log = logging.getLogger(__name__)


def freeze_gc() -> None:
    """Exclude the objects created at startup from garbage collection.

    They live as long as the process, and a scan of them at every full collection stops all requests for 40 ms (ADR 6).
    """
    gc.collect()
    gc.freeze()


def install_signal_handlers(end: Callable[[], None], grace_seconds: float) -> None:
    """Call `end` on the event loop when a signal asks the process to stop.

    uvicorn waits for every response before it shuts the application down, and the response of a stream never ends by
    itself. A second signal ends the process immediately, and so does the end of the grace period: every change that was
    answered is on the disk. A worker process ignores a second signal: a terminal or systemd sends it to the parent
    process, too, and the parent process forwards it.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    stopping = False
    for number in (signal.SIGINT, signal.SIGTERM):
        then = signal.getsignal(number)

        def stop(found: int, frame: FrameType | None, then: Any = then) -> None:
            nonlocal stopping
            if stopping and multiprocessing.parent_process():
                return
            if stopping:
                os._exit(SIGNALLED + found)
            stopping = True
            _exit_after(grace_seconds)
            loop.call_soon_threadsafe(end)
            if callable(then):
                then(found, frame)

        if callable(then):
            signal.signal(number, stop)


def _exit_after(seconds: float) -> None:
    def end() -> None:
        log.error("not stopped within %g seconds: exiting with requests still open", seconds)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


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
