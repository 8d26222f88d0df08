"""The jobs that sign checkpoints and send them to witnesses."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from application.record.checkpoint import CheckpointSender, Witness, make_checkpoints
from interface.composition.service import RunningService
from interface.outbound.http_out.witnesses import CheckpointDirectory, CheckpointWebhook, TimeStampAuthority
from interface.outbound.system import system_clock
from interface.settings import InvalidSettings, Settings


def witnesses(settings: Settings) -> list[Witness]:
    """Return the witnesses, which keep checkpoints outside the operator's control. Raises InvalidSettings."""
    found: list[Witness] = []
    if settings.checkpoint_dir:
        found.append(CheckpointDirectory(settings.checkpoint_dir))
        if settings.checkpoint_tsa:
            found.append(
                _authority(settings.checkpoint_tsa, settings.checkpoint_dir, settings.checkpoint_tsa_ca_file)
            )
    if settings.checkpoint_webhook:
        found.append(CheckpointWebhook(settings.checkpoint_webhook))
    return found


def _authority(url: str, directory: Path, ca_file: Path | None) -> TimeStampAuthority:
    try:
        return TimeStampAuthority(url, directory, ca_file)
    except (OSError, ValueError) as error:
        raise InvalidSettings(f"TICKETS_CHECKPOINT_TSA_CA_FILE {ca_file}: {error}") from error


def sign_ledgers(running: RunningService, stopped: Callable[[], bool]) -> None:
    """Index the times and sign every ledger that has grown, unless another process runs the job."""
    settings = running.settings
    with running.store.lease("checkpoints") as held:
        if held:
            running.store.keep_times(stopped)
            make_checkpoints(
                ledger=running.store,
                signer=running.keys,
                clock=system_clock,
                every_events=settings.checkpoint_every_events,
                every=timedelta(seconds=settings.checkpoint_every_seconds),
                stopped=stopped,
            )


def send_signed(
    running: RunningService,
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
