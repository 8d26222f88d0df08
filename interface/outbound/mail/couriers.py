"""Deliver tickets to their users, by mail or as a printed letter."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from application.delivery.courier import NotDelivered
from application.delivery.outbox import PendingDelivery
from application.shared.faults import log_fault
from domain.tickets.ticket import ClearTicket
from interface.outbound.files.durable_file import remove_drafts, write_once
from interface.outbound.letters.letter import LetterNotPrintable, LetterTooLong
from interface.outbound.mail.mail_composer import Compose, InvalidAddress, Letters
from interface.outbound.mail.templates import InvalidTemplate

log = logging.getLogger(__name__)

Made = TypeVar("Made")
_REASONS = {
    InvalidTemplate: "no-template",
    InvalidAddress: "bad-address",
    LetterTooLong: "letter-too-long",
    LetterNotPrintable: "letter-not-printable",
}


class MailTransport(Protocol):
    """Sends mails."""

    async def send(self, content: bytes, to: str, name: str) -> str:
        """Send a mail durably and return the response code. Raises NotDelivered.

        content: the mail as sent. name: identifies the mail.
        """


class MailCourier:
    """Delivers tickets by mail."""

    def __init__(self, compose: Compose, transport: MailTransport) -> None:
        self._compose = compose
        self._transport = transport

    async def deliver(self, ticket: ClearTicket, pending: PendingDelivery) -> str:
        """Send the mail and return the response code. Raises NotDelivered."""
        if pending.recipient is None or pending.recipient.email is None:
            raise NotDelivered("the user has no email address", "no-address", final=True)
        content, to = await _render(self._content, ticket, pending)
        return await self._transport.send(content, to, pending.delivery_id)

    def _content(self, ticket: ClearTicket, pending: PendingDelivery) -> tuple[bytes, str]:
        """Return the mail as sent, and its address."""
        message = self._compose(ticket, pending)
        [to] = message["To"].addresses
        return message.as_bytes(), to.addr_spec


class MailSpool:
    """Writes each mail as `<name>.eml`, mode 0600, into a directory for a mailer to pick up."""

    def __init__(self, directory: Path) -> None:
        remove_drafts(directory)
        self._directory = directory

    async def send(self, content: bytes, _to: str, name: str) -> str:
        """Write the mail to disk; a repeated mail has the same file. Raises NotDelivered."""
        await _write(self._directory / f"{name}.eml", content)
        return "spooled"


class LetterStore:
    """Writes each letter as `<delivery id>.pdf`, mode 0600, into a directory for a printer to pick up."""

    def __init__(self, letters: Letters, directory: Path) -> None:
        remove_drafts(directory)
        self._letters = letters
        self._directory = directory

    async def deliver(self, ticket: ClearTicket, pending: PendingDelivery) -> str:
        """Write the letter to disk; a repeated letter has the same file. Raises NotDelivered."""
        if pending.recipient is None or not pending.recipient.postal_address:
            raise NotDelivered("the user has no postal address", "no-address", final=True)
        letter = await _render(self._letters.render, ticket, pending)
        await _write(self._directory / f"{pending.delivery_id}.pdf", letter)
        return "stored"


async def _render(
    make: Callable[[ClearTicket, PendingDelivery], Made], ticket: ClearTicket, pending: PendingDelivery
) -> Made:
    """Render in a thread, since a letter would block the event loop for milliseconds."""
    return await asyncio.to_thread(_rendered, make, ticket, pending)


def _rendered(
    make: Callable[[ClearTicket, PendingDelivery], Made], ticket: ClearTicket, pending: PendingDelivery
) -> Made:
    """Render. Raises NotDelivered for any fault, since a retry would have the same one, except those of the machine."""
    try:
        return make(ticket, pending)
    except tuple(_REASONS) as error:
        raise NotDelivered(str(error), _REASONS[type(error)], final=True) from None
    except (OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - libraries render foreign texts, and can raise any exception for them
        log_fault(log, f"ticket {pending.delivery_id}", error)
        raise NotDelivered(
            f"the text cannot be rendered ({type(error).__name__}); see the log of the service",
            "not-rendered",
            final=True,
        ) from None


async def _write(path: Path, content: bytes) -> None:
    try:
        await asyncio.to_thread(write_once, path, content)
    except OSError as error:
        raise NotDelivered(f"cannot write to {path.parent}: {error.strerror}", "not-written") from None
