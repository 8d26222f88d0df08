"""Deliver tickets to their users, by mail or as a printed letter."""

import asyncio
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol, TypeVar

from application.delivery.courier import NotDelivered
from application.delivery.outbox import PendingDelivery
from domain.tickets.ticket import ClearTicket
from interface.outbound.files.durable_file import remove_drafts, write_once
from interface.outbound.letters.letter import LetterNotPrintable, LetterTooLong
from interface.outbound.mail.mail_composer import Compose, InvalidAddress, Letters
from interface.outbound.mail.templates import InvalidTemplate

Made = TypeVar("Made")
_REASONS = {
    InvalidTemplate: "no-template",
    InvalidAddress: "bad-address",
    LetterTooLong: "letter-too-long",
    LetterNotPrintable: "letter-not-printable",
}


class MailTransport(Protocol):
    """Sends mails."""

    async def send(self, message: EmailMessage, to: str, name: str) -> str:
        """Send a mail durably and return the response code. Raises NotDelivered.

        name: identifies the mail.
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
        message = await _render(self._compose, ticket, pending)
        [to] = message["To"].addresses
        return await self._transport.send(message, to.addr_spec, pending.delivery_id)


class MailSpool:
    """Writes each mail as `<name>.eml`, mode 0600, into a directory for a mailer to pick up."""

    def __init__(self, directory: Path) -> None:
        remove_drafts(directory)
        self._directory = directory

    async def send(self, message: EmailMessage, _to: str, name: str) -> str:
        """Write the mail to disk; a repeated mail has the same file. Raises NotDelivered."""
        await _write(self._directory / f"{name}.eml", message.as_bytes())
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
    try:
        return await asyncio.to_thread(make, ticket, pending)
    except tuple(_REASONS) as error:
        raise NotDelivered(str(error), _REASONS[type(error)], final=True) from None


async def _write(path: Path, content: bytes) -> None:
    try:
        await asyncio.to_thread(write_once, path, content)
    except OSError as error:
        raise NotDelivered(f"cannot write to {path.parent}: {error.strerror}", "not-written") from None
