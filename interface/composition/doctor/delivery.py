"""Checks of templates, couriers and the mail server."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

from application.delivery.courier import NotDelivered
from interface.cli.operations.commands import Finding, Health
from interface.composition.delivery import Delivery, delivery_of
from interface.composition.doctor.directory import writable
from interface.composition.templates import templates
from interface.outbound.mail.smtp import SmtpTransport
from interface.settings import InvalidSettings, Settings

_SMTP_SECONDS = 10


def check_delivery(settings: Settings) -> Iterator[Finding]:
    """Check the templates and couriers."""
    if faults := templates(settings).check():
        for fault in faults:
            yield Finding("templates", Health.BAD, fault, "tickets templates check")
    else:
        yield Finding("templates", Health.GOOD, "all can be used")
    yield writable("letter directory", settings.letter_dir)
    if not settings.smtp_url:
        yield writable("mail directory", settings.mail_dir)
    _who_delivers(settings)


def _who_delivers(settings: Settings) -> Delivery:
    """Return the couriers without creating directories: the service may run as another user."""
    with tempfile.TemporaryDirectory() as elsewhere:
        made = Path(elsewhere)
        return delivery_of(settings.model_copy(update={"mail_dir": made, "letter_dir": made}))


def check_mail_server(settings: Settings) -> Iterator[Finding]:
    """Check the connection to the mail server, without sending a mail."""
    if settings.smtp_url is None:
        yield Finding(
            "mail server",
            Health.WARNING,
            f"none: mails are files in {settings.mail_dir}",
            "set TICKETS_SMTP_URL, unless another program collects the files",
        )
        return
    short = settings.model_copy(
        update={"smtp_timeout_seconds": min(settings.smtp_timeout_seconds, _SMTP_SECONDS)}
    )
    try:
        [transport] = [part for part in _who_delivers(short).closing if isinstance(part, SmtpTransport)]
    except InvalidSettings:
        return  # the check of the delivery settings reports it
    try:
        asyncio.run(transport.check())
    except NotDelivered as error:
        yield Finding(
            "mail server", Health.BAD, str(error), "check TICKETS_SMTP_URL and TICKETS_SMTP_CA_FILE"
        )
    else:
        yield Finding("mail server", Health.GOOD, "accepts the login")
