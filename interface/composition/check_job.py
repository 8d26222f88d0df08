"""The job that checks the record by schedule, in a process of low priority."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial

from application.record.installation import is_recent, newest_check
from application.record.replay import UNRECORDED_LISTED, WITHOUT_COMMITMENT
from application.shared.periodic import Periodic
from interface.cli.record.commands import NOT_RECORDED
from interface.composition.service import RunningService
from interface.outbound.system import system_clock

log = logging.getLogger(__name__)
# A check is due at most once per server and interval; it is not started at the start of a server, which has more to do.
_LOOK_EVERY_SECONDS = 600
_POLL_SECONDS = 0.5


def check_job(running: RunningService, stopped: Callable[[], bool]) -> Periodic | None:
    """Return the job; None: it is switched off."""
    every = running.settings.check_every_seconds
    if not every:
        return None
    check = partial(check_if_due, running, stopped)
    return Periodic("record check", check, every_seconds=min(every, _LOOK_EVERY_SECONDS))


def check_if_due(running: RunningService, stopped: Callable[[], bool]) -> None:
    """Check the record in another process, unless it was checked or another server does so. Raises StoreUnavailable."""
    every = running.settings.check_every_seconds
    # The process holds another lease while it checks.
    with running.store.lease("check-job") as held:
        if held and not is_recent(newest_check(running.store), system_clock(), timedelta(seconds=every)):
            # One process, since the memory of a container is limited.
            _run(["jobs", "check", "--every", str(every), "--processes", "1"], stopped)


def _run(arguments: list[str], stopped: Callable[[], bool]) -> None:
    # A group, so that a stop ends its processes, too.
    process = subprocess.Popen(  # noqa: S603 - this program
        [sys.executable, "-m", "interface.main", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while True:
        try:
            _, reported = process.communicate(timeout=_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if stopped():
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
        else:
            break
    if not stopped():
        _log(reported.splitlines())


def _log(lines: Iterable[str]) -> None:
    """Log the findings; after an upgrade, users of release 1.0 are not recorded yet, which is no fault."""
    listed = expected = 0
    for line in lines:
        listed += line.startswith(NOT_RECORDED)
        if not line.startswith(NOT_RECORDED):
            log.error("record check: %s", line)
        elif line.endswith(WITHOUT_COMMITMENT):
            log.warning("record check: %s", line)
        else:
            expected += 1
    if expected:
        # The check lists a limited number of them.
        most = "at least " if listed >= UNRECORDED_LISTED else ""
        log.info("record check: %s%d users of release 1.0 are not recorded yet", most, expected)
