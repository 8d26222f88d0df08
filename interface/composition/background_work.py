"""The background work of a server process."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from application.feed.live_feed import LiveFeed
from application.operations.readiness import Probe
from application.record.access_log import AccessRecorder
from application.record.checkpoint import CheckpointSender
from application.shared.errors import Unavailable
from application.shared.periodic import Periodic
from application.tickets.slow_hashing import SlowHashing
from application.transaction.command import Answer, Command
from interface.composition.bulk import process_bulk_jobs
from interface.composition.check_job import check_job
from interface.composition.checkpoints import send_signed, sign_ledgers, witnesses
from interface.composition.delivery import deliver, delivery_of
from interface.composition.installation import note_clock_set_back
from interface.composition.log_cutting import log_cutting
from interface.composition.process import cancelled
from interface.composition.row_seals import RowSealing
from interface.composition.service import RunningService
from interface.composition.subscriptions import push
from interface.composition.telemetry import Telemetry
from interface.composition.tickets import expire
from interface.composition.users import UserRecording

log = logging.getLogger(__name__)
_CHECKPOINTS_EVERY_SECONDS = 5
_USERS_EVERY_SECONDS = 600
# At a stop. A checkpoint whose sending is interrupted is sent again after the next start; witnesses accept that.
_WAIT_FOR_WITNESSES_SECONDS = 1
_FLUSH_EVERY_SECONDS = 60
_SEAL_ROWS_EVERY_SECONDS = 60
_CUT_LOG_EVERY_SECONDS = 600
_PAUSE_BETWEEN_PAGES_SECONDS = 0.1
_POLL_INTERVAL_SECONDS = 1


class BackgroundWork:
    """Expiry, records of users, signing, sealing of rows, bulk jobs, delivery and pushing; started and stopped with the application.

    Raises InvalidSettings if the settings of the delivery are invalid.
    """

    def __init__(
        self,
        running: RunningService,
        live: LiveFeed,
        notes: AccessRecorder,
        telemetry: Telemetry,
        probe: Probe,
        hashing: SlowHashing,
    ) -> None:
        self._running = running
        self._live = live
        self._notes = notes
        self._telemetry = telemetry
        self._probe = probe
        self._hashing = hashing
        self._delivery = delivery_of(running.settings) if running.settings.deliver else None
        self._stopping = threading.Event()
        self._clock_notes = set[asyncio.Task[None]]()

    def start(self) -> None:
        """Start the work on the running event loop."""
        running, telemetry, stopped = self._running, self._telemetry, self._stopping.is_set
        settings, loop = running.settings, asyncio.get_running_loop()

        def submit(command: Command) -> Future[Answer]:
            return asyncio.run_coroutine_threadsafe(running.commands.execute(command), loop)

        self._expiry = Periodic(
            "expiry",
            partial(expire, running, submit, stopped),
            every_seconds=settings.expiry_every_seconds,
        )
        self._recording = Periodic(
            "unrecorded users",
            UserRecording(running, submit, stopped).run,
            every_seconds=_USERS_EVERY_SECONDS,
        )
        self._signing = Periodic(
            "checkpoints",
            partial(sign_ledgers, running, stopped),
            every_seconds=_CHECKPOINTS_EVERY_SECONDS,
        )
        # A pause after each page leaves the processor to requests.
        pausing = partial(self._stopping.wait, _PAUSE_BETWEEN_PAGES_SECONDS)
        self._sealing = Periodic(
            "row seals", RowSealing(running, pausing).run, every_seconds=_SEAL_ROWS_EVERY_SECONDS
        )
        self._cutting = log_cutting(running, self._stopping, _CUT_LOG_EVERY_SECONDS)
        self._sending = _witness_job(running, telemetry, stopped)
        self._checking = check_job(running, stopped)
        self._observing = [
            loop.create_task(_flush_periodically(self._notes)),
            loop.create_task(_sample_periodically(telemetry)),
        ]
        self._storing = [loop.create_task(push(running, self._live))] if settings.push else []
        self._storing.append(loop.create_task(process_bulk_jobs(running, self._hashing)))
        if self._delivery:
            self._storing.append(
                loop.create_task(deliver(running, self._delivery, telemetry.delivery_attempt))
            )

    def clock_set_back(self, seconds: int) -> None:
        """Count and record a clock that was set back; called on the event loop."""
        self._telemetry.clock_set_back()
        note = asyncio.to_thread(note_clock_set_back, self._running.store, seconds)
        task = asyncio.get_running_loop().create_task(note)
        self._clock_notes.add(task)
        task.add_done_callback(self._clock_notes.discard)

    def prepare_stop(self) -> None:
        """End the streams and report that the server is not ready, so that open requests end."""
        self._stopping.set()
        self._probe.stop()
        self._live.stop()

    async def stop(self) -> None:
        """Stop after the last request, and close the service."""
        running = self._running
        self._stopping.set()
        # The requests are over: their counts must be stored before anything else can fail.
        for task in self._observing:
            task.cancel()
        await _flush(self._notes)
        # Work that stores something ends before the commands.
        for error in await asyncio.gather(*map(cancelled, self._storing), return_exceptions=True):
            if isinstance(error, Exception):
                log.error("background work ended with an error", exc_info=error)
        await asyncio.to_thread(self._expiry.close)
        await asyncio.to_thread(self._recording.close)
        if self._checking:
            await asyncio.to_thread(self._checking.close)
        # The counts of requests that uvicorn did not wait for.
        await _flush(self._notes)
        await running.commands.close()
        await asyncio.gather(*self._clock_notes, return_exceptions=True)
        await self._live.close()
        await asyncio.to_thread(self._signing.close)
        await asyncio.to_thread(self._sealing.close)
        if self._cutting:
            await asyncio.to_thread(self._cutting.close)
        if self._sending:
            await asyncio.to_thread(self._sending.close, _WAIT_FOR_WITNESSES_SECONDS)
        await asyncio.to_thread(running.close)
        await asyncio.to_thread(self._telemetry.close)


def _witness_job(
    running: RunningService, telemetry: Telemetry, stopped: Callable[[], bool]
) -> Periodic | None:
    """Return the job that sends checkpoints to witnesses; separate, so that a hanging witness does not delay signing."""
    known = witnesses(running.settings)
    if not known:
        return None
    send = partial(send_signed, running, CheckpointSender(running.store, known), telemetry.unsent, stopped)
    return Periodic("checkpoints to witnesses", send, every_seconds=_CHECKPOINTS_EVERY_SECONDS)


async def _flush_periodically(notes: AccessRecorder) -> None:
    while True:
        await asyncio.sleep(_FLUSH_EVERY_SECONDS)
        await _flush(notes)


async def _sample_periodically(telemetry: Telemetry) -> None:
    while True:
        telemetry.sample()
        await asyncio.sleep(_POLL_INTERVAL_SECONDS)


async def _flush(notes: AccessRecorder) -> None:
    try:
        await notes.flush()
    except Unavailable as error:
        log.warning("access log counts lost: %s", error)
