"""The templates of mails and letters, and the actions of their commands."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from application.delivery.outbox import OutboxEntry, OutboxStatus, PendingDelivery, RetryState
from domain.shared.subject import Subject
from domain.tickets.events import stream_id
from domain.tickets.state import TicketState
from domain.tickets.states import State
from domain.tickets.ticket import ClearTicket
from domain.users.recipient import Recipient
from interface.cli.delivery.commands import LETTER
from interface.outbound.letters.letter import InvalidLetter, Window
from interface.outbound.mail.mail_composer import Letters
from interface.outbound.mail.templates import SAMPLE_TICKET, WITH_TICKET, InvalidTemplate, Templates
from interface.settings import InvalidSettings, Settings, read_settings


def templates(settings: Settings) -> Templates:
    """Return the templates of mails and letters. Raises InvalidSettings, also for an invalid link in their directory."""
    if settings.template_dir and not settings.template_dir.is_dir():
        raise InvalidSettings(f"TICKETS_TEMPLATE_DIR {settings.template_dir} is not a directory")
    texts = Templates(
        settings.template_dir, language=settings.language, time_zone=ZoneInfo(settings.time_zone)
    )
    try:
        known = sorted({name.split("/")[1] for name in texts.names() if "/" in name})
    except (InvalidTemplate, OSError) as error:
        raise InvalidSettings(f"TICKETS_TEMPLATE_DIR {settings.template_dir}: {error}") from None
    # A language such as de-CH falls back to de.
    if not any(f"{settings.language}-".lower().startswith(f"{name}-".lower()) for name in known):
        raise InvalidSettings(
            f"TICKETS_LANGUAGE: no templates in {settings.language}; expected one of {', '.join(known)}"
        )
    return texts


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
