"""Composes the delivery of tickets, and the actions of its commands."""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import typer
import uvloop

from application.delivery.attempts import Attempts
from application.delivery.courier import Courier, DeliveryAttempt
from application.delivery.deliver_tickets import Deliverer
from application.delivery.outbox import DELIVERIES, OUTBOX
from application.shared.retries import Retries
from domain.policies.policy import SendingMethod
from interface.cli.delivery import commands
from interface.composition.process import until_stopped
from interface.composition.service import RunningService, configure_logging, start
from interface.composition.sqlite_version import warn_of_sqlite
from interface.composition.telemetry import Telemetry
from interface.composition.templates import check_templates, render_template, templates
from interface.outbound.http_out.mailer_webhook import MailerKey, MailerWebhook
from interface.outbound.http_out.outgoing_http import OutgoingHttp, to_named_host
from interface.outbound.letters.letter import Window
from interface.outbound.mail.couriers import LetterStore, MailCourier, MailSpool, MailTransport
from interface.outbound.mail.mail_composer import Letters, MailComposer, parse_sender
from interface.outbound.mail.smtp import SmtpTransport, parse_smtp_url
from interface.outbound.system import jitter, system_clock
from interface.settings import InvalidSettings, Settings, read_settings
from interface.trace_context import new_traceparent


@dataclass(frozen=True)
class Delivery:
    """The couriers by method. close: closes their connections."""

    couriers: Mapping[SendingMethod, Courier]
    closing: Sequence[SmtpTransport | OutgoingHttp]

    async def close(self) -> None:
        """Close the connections."""
        for part in self.closing:
            await part.close()


def delivery_of(settings: Settings) -> Delivery:
    """Return the couriers of the settings. Raises InvalidSettings."""
    try:
        return _delivery(settings)
    except (OSError, ValueError) as error:
        raise InvalidSettings(str(error)) from error


def _delivery(settings: Settings) -> Delivery:
    texts = templates(settings)
    letters = Letters(texts, settings.letter_sender, Window(settings.letter_window))
    try:
        sender = parse_sender(settings.mail_from)
    except ValueError as error:
        raise ValueError(f"TICKETS_MAIL_FROM {error}") from None
    mails = MailComposer(texts, letters, sender)
    transport = _transport(settings, sender.addr_spec)
    couriers: dict[SendingMethod, Courier] = {
        SendingMethod.EMAIL: MailCourier(mails.text, transport),
        SendingMethod.HTML_EMAIL: MailCourier(mails.html, transport),
        SendingMethod.PDF_EMAIL: MailCourier(mails.with_letter, transport),
        SendingMethod.PDF_STORE: LetterStore(letters, settings.letter_dir),
    }
    closing: list[SmtpTransport | OutgoingHttp] = [transport] if isinstance(transport, SmtpTransport) else []
    url, key_file, secret = (
        settings.delivery_webhook_url,
        settings.delivery_webhook_key_file,
        settings.delivery_webhook_secret,
    )
    if url and key_file and secret:
        http = to_named_host(url, timeout_seconds=settings.push_timeout_seconds)
        closing.append(http)
        couriers[SendingMethod.WEBHOOK] = MailerWebhook(
            http, url=url, key=MailerKey(key_file), secret=secret.get_secret_value(), clock=system_clock
        )
    return Delivery(couriers, closing)


def _transport(settings: Settings, sender: str) -> MailTransport:
    if settings.smtp_url is None:
        return MailSpool(settings.mail_dir)
    try:
        url = parse_smtp_url(settings.smtp_url.get_secret_value())
    except ValueError as error:
        raise ValueError(f"TICKETS_SMTP_URL {error}") from None
    try:
        return SmtpTransport(
            url,
            sender=sender,
            helo=settings.smtp_helo,
            ca_file=settings.smtp_ca_file,
            timeout_seconds=settings.smtp_timeout_seconds,
        )
    except OSError as error:
        raise ValueError(f"TICKETS_SMTP_CA_FILE {settings.smtp_ca_file}: {error.strerror or error}") from None


async def deliver(
    running: RunningService, delivery: Delivery, observe: Callable[[DeliveryAttempt], None] = lambda _: None
) -> None:
    """Deliver tickets until cancelled. observe: called after every attempt."""
    settings = running.settings
    lease = secrets.token_hex(16)
    attempts = Attempts(
        outbox=running.store,
        couriers=delivery.couriers,
        sealer=running.sealer,
        execute=running.commands.execute,
        retries=Retries.of(
            settings.delivery_retry_seconds,
            settings.delivery_longest_wait_seconds,
            settings.delivery_give_up_hours,
            jitter,
        ),
        clock=system_clock,
        lease=lease,
        new_command_id=lambda: secrets.token_hex(16),
        correlation_id=new_traceparent,
        observe=observe,
    )
    deliverer = Deliverer(
        outbox=running.store,
        attempts=attempts,
        clock=system_clock,
        lease=lease,
        lease_for=timedelta(seconds=settings.delivery_lease_seconds),
    )
    running.listeners.register(deliverer.wake, OUTBOX, DELIVERIES)
    try:
        await deliverer.run()
    finally:
        await delivery.close()


def deliver_alone() -> None:
    """Deliver until a stop signal. Raises InvalidSettings."""
    settings = read_settings()
    configure_logging(settings)
    delivery = delivery_of(settings)
    running = start(settings)
    warn_of_sqlite(settings)
    uvloop.run(_deliver_until_stopped(running, delivery))


async def _deliver_until_stopped(running: RunningService, delivery: Delivery) -> None:
    telemetry = Telemetry(running)
    running.commands.observe = telemetry.batch
    await until_stopped(deliver(running, delivery, telemetry.delivery_attempt))
    await running.commands.close()
    await asyncio.to_thread(running.close)
    await asyncio.to_thread(telemetry.close)


def add_commands(cli: typer.Typer) -> None:
    """Add the commands."""
    actions = commands.DeliveryActions(
        deliver=deliver_alone, check_templates=check_templates, render_template=render_template
    )
    commands.add_commands(cli, actions)
