"""What the commands for users and jobs do."""

import secrets
from collections.abc import Iterable
from functools import partial

from application.tickets.expire_tickets import ExpiryReport
from application.users.import_users import ImportReport, import_users
from interface.composition.jobs import expire
from interface.composition.service import in_background
from interface.http.core.envelope import new_traceparent
from interface.settings import read_settings


def run_expiry() -> ExpiryReport | None:
    """Say now which tickets end soon or have ended; None where another process does it."""
    with in_background(read_settings()) as (running, background):
        return expire(running, background.submit)


def import_from(
    lines: Iterable[str], client_ext_id: str, *, actor: str, dry_run: bool, report: ImportReport
) -> None:
    """Register the users of a CSV file. Raises InvalidImportFile, Unavailable, InvalidSettings."""
    importing = partial(
        import_users,
        lines,
        client_ext_id,
        actor=actor,
        correlation_id=new_traceparent(),
        new_command_id=lambda: secrets.token_hex(16),
        report=report,
    )
    if dry_run:
        importing(submit=None)
        return
    with in_background(read_settings()) as (_, background):
        importing(submit=background.submit)
