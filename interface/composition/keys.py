"""The actions of the commands for keys."""

from collections.abc import Callable
from time import sleep

import typer

from application.operations.reseal import ResealReport, reseal
from domain.record.installation import OperatorActed
from interface.cli.operations import keys as commands
from interface.composition.installation import note, note_command
from interface.composition.service import RunningService, in_background, ledger_keys
from interface.outbound.keys.outbox_keys import LOOK_SECONDS, OutboxKeyFile
from interface.settings import InvalidSettings, read_settings

# For a transaction that began with the previous key.
_MARGIN_SECONDS = 1.0


def rotate_outbox_key(report: Callable[[int], None]) -> ResealReport:
    """Rotate the key that encrypts queued tickets; the previous key decrypts until the next rotation. Raises InvalidSettings, Unavailable."""
    with in_background(read_settings(), with_outbox=True, make_lost_key=True) as (running, _):
        if not isinstance(running.outbox_keys, OutboxKeyFile):
            raise InvalidSettings(
                "the key of the outbox is not a file here: add the new key after the current one, then move it before, and"
                " run `tickets keys reseal`"
            )
        _seal(running, report)  # tickets that are encrypted with the key to be removed
        try:
            running.outbox_keys.rotate()
        except OSError as error:
            raise InvalidSettings(
                f"{running.settings.outbox_key_file} cannot be written ({error.strerror}): at the source"
                " of the file, add the new key after the current one, then move it before, and run `tickets keys reseal`"
            ) from error
        # Running servers may encrypt with the previous key until they look at the file again.
        sleep(LOOK_SECONDS + _MARGIN_SECONDS)
        return _reseal(running, report, "tickets keys rotate --outbox")


def reseal_outbox(report: Callable[[int], None]) -> ResealReport:
    """Re-encrypt queued tickets with the first key. Raises InvalidSettings, Unavailable."""
    with in_background(read_settings(), with_outbox=True) as (running, _):
        return _reseal(running, report, "tickets keys reseal")


def rotate_ledger_key() -> str:
    """Rotate the key that signs checkpoints and evidence. Returns the new verifier key. Raises InvalidSettings."""
    settings = read_settings()
    keys = ledger_keys(settings)
    rotated = keys.rotate()
    note_command(settings, "tickets keys rotate", fingerprint=keys.published()[0].fingerprint)
    return rotated


def _reseal(running: RunningService, report: Callable[[int], None], operation: str) -> ResealReport:
    done = _seal(running, report)
    lost = done.lost_tickets + done.lost_subscriptions
    figures = {"tickets": done.tickets, "subscriptions": done.subscriptions, "lost": lost}
    note(running.store, OperatorActed, operation, failed=bool(lost), **figures)
    return done


def _seal(running: RunningService, report: Callable[[int], None]) -> ResealReport:
    return reseal(
        outbox=running.store, subscriptions=running.store, sealer=running.sealer, report_progress=report
    )


def add_commands(cli: typer.Typer) -> None:
    """Add the commands."""
    actions = commands.KeyActions(
        public_keys=lambda: ledger_keys(read_settings()).published(),
        rotate=rotate_ledger_key,
        rotate_outbox=rotate_outbox_key,
        reseal=reseal_outbox,
    )
    commands.add_commands(cli, actions)
