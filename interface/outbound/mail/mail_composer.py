"""Composes mails and letters with a ticket."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from typing import Any

from application.delivery.outbox import PendingDelivery
from application.users.email_address import parse_mailbox
from domain.tickets.ticket import ClearTicket
from interface.outbound.letters.letter import Window, render_letter
from interface.outbound.mail.templates import Templates

# No question mark: in a header, =?...?= would be decoded (RFC 2047).
_ATOM = r"[A-Za-z0-9!#$%&'*+/=^_`{|}~-]+"
_ADDRESS = re.compile(rf"(?=.{{3,254}}$){_ATOM}(\.{_ATOM})*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", re.ASCII)
_NAME_AND_ADDRESS = re.compile(r'(?P<quote>"?)(?P<name>[^"<>\\]*)(?P=quote)\s*<(?P<address>[^<>]*)>')

# A line of a street, or of another person ("c/o").
_OTHER_LINE = re.compile(r"[\d/]")
_LONGEST_LINE = 76

Compose = Callable[[ClearTicket, PendingDelivery], EmailMessage]


class _MailPolicy(EmailPolicy):
    """Python's policy, except for long headers.

    Python loses blanks between the encoded words of a subject (CPython issue 92081), and the quotation marks of a long name,
    whose commas then separate addresses (issues 80222 and 100884); and it encodes a long id.
    """

    def fold(self, name: str, value: Any) -> str:
        """Return the header as sent."""
        line = f"{name}: {value}"
        if line.isascii() and (len(line) <= _LONGEST_LINE or name == "Message-ID"):
            return f"{line}{self.linesep}"
        if name == "Subject":
            return f"{name}: {self._encoded(name, value)}{self.linesep}"
        if name not in ("From", "To"):
            return str(super().fold(name, value))
        [address] = value.addresses
        if not address.display_name:
            return f"{name}: {address.addr_spec}{self.linesep}"
        encoded = self._encoded(name, address.display_name)
        return f"{name}: {encoded}{self.linesep} <{address.addr_spec}>{self.linesep}"

    def fold_binary(self, name: str, value: str) -> bytes:
        """Return the header in bytes. Only a local part of an address can be other than ASCII (RFC 6532)."""
        return self.fold(name, value).encode()

    def _encoded(self, name: str, text: str) -> str:
        header = Header(str(text), "utf-8", maxlinelen=_LONGEST_LINE, header_name=name)
        return header.encode(linesep=self.linesep)


# 7bit, so that no server needs to support 8BITMIME.
_POLICY = _MailPolicy(linesep="\r\n", cte_type="7bit")


class InvalidAddress(Exception):
    """The email address cannot be used in a header."""


@dataclass(frozen=True)
class Letters:
    """Composes letters. sender: the line above the address."""

    templates: Templates
    sender: str
    window: Window

    def render(self, ticket: ClearTicket, pending: PendingDelivery) -> bytes:
        """Return the letter to a user; the same ticket gives the same letter. Raises InvalidTemplate, InvalidLetter."""
        language = self.templates.language_of("letter.txt", pending)
        recipient, subject = pending.recipient, pending.entry.subject
        lines = (recipient and recipient.postal_address) or ()
        name = (recipient and recipient.name) or subject.user_ext_id
        return render_letter(
            self.templates.render("letter.txt", ticket, pending),
            address=lines if any(_names(line, name) for line in lines[:-1]) else [name, *lines],
            sender=self.sender,
            day=self.templates.day_of(pending, language),
            window=self.window,
            language=language,
        )


@dataclass(frozen=True)
class MailComposer:
    """Composes mails. sender: the From header, such as `Tickets <tickets@bank.example>`."""

    templates: Templates
    letters: Letters
    sender: Address

    def text(self, ticket: ClearTicket, pending: PendingDelivery) -> EmailMessage:
        """Return a mail in plain text. This and the next methods raise InvalidTemplate, InvalidAddress."""
        message = self._message(pending)
        message.set_content(self.templates.render("mail.txt", ticket, pending))
        return message

    def html(self, ticket: ClearTicket, pending: PendingDelivery) -> EmailMessage:
        """Return a mail in HTML, with a plain text alternative."""
        message = self.text(ticket, pending)
        message.add_alternative(self.templates.render("mail.html", ticket, pending), subtype="html")
        return message

    def with_letter(self, ticket: ClearTicket, pending: PendingDelivery) -> EmailMessage:
        """Return a mail with the letter attached. Also raises InvalidLetter."""
        message = self._message(pending)
        message.set_content(self.templates.render("attached.txt", None, pending))
        letter = self.letters.render(ticket, pending)
        message.add_attachment(letter, maintype="application", subtype="pdf", filename="ticket.pdf")
        return message

    def _message(self, pending: PendingDelivery) -> EmailMessage:
        address = _address((pending.recipient and pending.recipient.email) or "")
        message = EmailMessage(policy=_POLICY)
        message["From"] = self.sender
        # Without a display name: it is the caller's text and could inject header syntax.
        message["To"] = address
        message["Subject"] = _one_line(self.templates.render("subject.txt", None, pending))
        message["Date"] = _without_fraction(pending.entry.minted)
        # The same for every attempt, so that duplicates are recognisable.
        message["Message-ID"] = f"<{pending.delivery_id}@{self.sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"
        return message


def parse_sender(text: str) -> Address:
    """Return the address of `Name <local@domain>` or `local@domain`. Raises ValueError."""
    match = _NAME_AND_ADDRESS.fullmatch(text)
    name, address = (match["name"].strip(), match["address"]) if match else ("", text)
    if not _ADDRESS.fullmatch(address) or not name.isprintable() or "=?" in name:
        raise ValueError("must be an address such as Tickets <tickets@bank.example>")
    return Address(display_name=name, addr_spec=address)


def _address(text: str) -> Address:
    if _ADDRESS.fullmatch(text):  # also an address that was stored under other limits of length
        return Address(addr_spec=text)
    try:
        local, domain = parse_mailbox(text)
    except ValueError:
        raise InvalidAddress("the user's email address is invalid") from None
    return Address(username=local, domain=domain)


def _names(line: str, name: str) -> bool:
    """Return whether a line of an address has the words of the name, in any order and also with a title."""
    words = _words(name)
    return bool(words) and words <= _words(line) and not _OTHER_LINE.search(line)


def _words(text: str) -> set[str]:
    return set(re.findall(r"[\w.-]+", unicodedata.normalize("NFKC", text).casefold()))


def _one_line(subject: str) -> str:
    """Return a subject as one line without encoded words (RFC 2047), which a name could otherwise inject."""
    line = "".join(character if character.isprintable() else " " for character in subject)
    return " ".join(line.split()).replace("=?", "= ?")


def _without_fraction(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
