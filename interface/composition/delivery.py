"""The delivery of tickets, wired, and the actions of its commands."""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import typer
import uvloop

from application.delivery.deliver_tickets import Courier, Deliverer, DeliveryAttempt
from application.delivery.outbox import OutboxEntry, OutboxStatus, PendingDelivery, RetryState
from domain.policies.policy import SendingMethod
from domain.shared.subject import Subject
from domain.tickets.state import TicketState
from domain.tickets.states import State
from domain.tickets.ticket import ClearTicket
from domain.tickets.ticket_credential import stream_id
from domain.users.recipient import Recipient
from interface.cli.delivery import commands
from interface.cli.delivery.commands import LETTER
from interface.composition.jobs import retries, until_stopped
from interface.composition.service import Running, log_as_set, start
from interface.composition.telemetry import Telemetry
from interface.http.core.envelope import new_traceparent
from interface.outbound.http_out.mailer_webhook import MailerKey, MailerWebhook
from interface.outbound.http_out.outgoing_http import OutgoingHttp
from interface.outbound.letters.letter import InvalidLetter, Window
from interface.outbound.mail.couriers import LetterStore, MailCourier, MailSpool, MailTransport
from interface.outbound.mail.mail_composer import Letters, MailComposer, parse_sender
from interface.outbound.mail.smtp import SmtpTransport, parse_smtp_url
from interface.outbound.mail.templates import SAMPLE_TICKET, WITH_TICKET, InvalidTemplate, Templates
from interface.outbound.system import system_clock
from interface.settings import InvalidSettings, Settings, read_settings


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
        # The operator has named the host, so it may be in the private network.
        http = OutgoingHttp(any_host=True, timeout_seconds=settings.push_timeout_seconds)
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
            ca_file=settings.smtp_ca_file,
            timeout_seconds=settings.smtp_timeout_seconds,
        )
    except OSError as error:
        raise ValueError(f"TICKETS_SMTP_CA_FILE {settings.smtp_ca_file}: {error.strerror or error}") from None


def templates(settings: Settings) -> Templates:
    """Return the templates of mails and letters."""
    if settings.template_dir and not settings.template_dir.is_dir():
        raise InvalidSettings(f"TICKETS_TEMPLATE_DIR {settings.template_dir} is not a directory")
    return Templates(
        settings.template_dir, language=settings.language, time_zone=ZoneInfo(settings.time_zone)
    )


async def deliver(
    running: Running, delivery: Delivery, observe: Callable[[DeliveryAttempt], None] = lambda _: None
) -> None:
    """Deliver tickets until cancelled. observe: called after every attempt."""
    settings = running.settings
    deliverer = Deliverer(
        outbox=running.store,
        couriers=delivery.couriers,
        sealer=running.sealer,
        execute=running.commands.execute,
        retries=retries(
            settings.delivery_retry_seconds,
            settings.delivery_longest_wait_seconds,
            settings.delivery_give_up_hours,
        ),
        clock=system_clock,
        lease=secrets.token_hex(16),
        lease_for=timedelta(seconds=settings.delivery_lease_seconds),
        new_command_id=lambda: secrets.token_hex(16),
        correlation_id=new_traceparent,
        observe=observe,
    )
    running.stored.tickets_to_deliver = deliverer.wake
    try:
        await deliverer.run()
    finally:
        await delivery.close()


def deliver_alone() -> None:
    """Deliver until a stop signal. Raises InvalidSettings."""
    settings = read_settings()
    log_as_set(settings)
    delivery = delivery_of(settings)
    uvloop.run(_deliver_until_stopped(start(settings), delivery))


async def _deliver_until_stopped(running: Running, delivery: Delivery) -> None:
    telemetry = Telemetry(running)
    running.commands.observe = telemetry.batch
    await until_stopped(deliver(running, delivery, telemetry.attempt))
    await running.commands.close()
    await asyncio.to_thread(running.close)
    await asyncio.to_thread(telemetry.close)


def check_templates() -> tuple[Sequence[str], Sequence[str]]:
    """Return the names of all templates, and the faults found. Raises InvalidSettings."""
    texts = templates(read_settings())
    return texts.names(), texts.check()


def render_template(kind: str, client: str, language: str) -> bytes:
    """Return a template rendered with sample data; `letter.pdf` is the printed letter. Raises InvalidSettings."""
    settings = read_settings()
    texts = templates(settings)
    ticket, pending = ClearTicket(SAMPLE_TICKET), _sample(client, language)
    try:
        if kind == LETTER:
            return Letters(texts, settings.letter_sender, Window(settings.letter_window)).render(
                ticket, pending
            )
        return texts.render(kind, ticket if kind in WITH_TICKET else None, pending).encode()
    except (InvalidTemplate, InvalidLetter) as error:
        raise InvalidSettings(str(error)) from None


def _sample(client: str, language: str) -> PendingDelivery:
    """Return a sample ticket."""
    now = datetime(2026, 11, 25, 9, 42, tzinfo=UTC)
    subject = Subject(client, "user-123")
    recipient = Recipient(
        client_ext_id=client,
        user_ext_id=subject.user_ext_id,
        email="zoe.mueller@example.com",
        name="Zoë Müller",
        language=language,
        postal_address=("Bahnhofstrasse 1", "8001 Zürich"),
        created=now,
        last_modified=now,
        version=1,
    )
    row = TicketState(
        client_ext_id=client,
        user_ext_id=subject.user_ext_id,
        stream=stream_id(*subject),
        version=1,
        ext_id="sample",
        policy_ext_id="sample",
        state_name=State.ACTIVE,
        state_change_reason="",
        ticket_hash="",
        created=now,
        last_modified=now,
        valid_from=now,
        valid_to=now + timedelta(days=3),
        modification_comment=None,
    )
    entry = OutboxEntry(subject, row.stream, row.version, b"", now)
    return PendingDelivery(entry, recipient, row, RetryState(), 0, OutboxStatus.QUEUED, None)


def add_commands(cli: typer.Typer) -> None:
    """Add the commands."""
    actions = commands.DeliveryActions(
        deliver=deliver_alone, check_templates=check_templates, render_template=render_template
    )
    commands.add_commands(cli, actions)
