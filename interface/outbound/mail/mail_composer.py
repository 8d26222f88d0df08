"""What a mail with a ticket is."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy

from application.delivery.outbox import PendingDelivery
from domain.tickets.ticket import ClearTicket
from interface.outbound.letters.letter import Window, render_letter
from interface.outbound.mail.templates import Templates

# No question mark: in a header, =?...?= would be decoded (RFC 2047).
_ATOM = r"[A-Za-z0-9!#$%&'*+/=^_`{|}~-]+"
_ADDRESS = re.compile(rf"(?=.{{3,254}}$){_ATOM}(\.{_ATOM})*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", re.ASCII)
_NAME_AND_ADDRESS = re.compile(r'(?P<quote>"?)(?P<name>[^"<>\\]*)(?P=quote)\s*<(?P<address>[^<>]*)>')

_LONGEST_LINE = 76

Compose = Callable[[ClearTicket, PendingDelivery], EmailMessage]


class _MailPolicy(EmailPolicy):
    """Python's own, but for subjects, in which that one may lose blanks between encoded words (its issue 92081)."""

    def fold(self, name: str, value: str) -> str:
        """Return the header as it is sent."""
        line = f"{name}: {value}"
        if name != "Subject" or (line.isascii() and len(line) <= _LONGEST_LINE):
            return str(super().fold(name, value))
        encoded = Header(str(value), "utf-8", maxlinelen=_LONGEST_LINE, header_name=name)
        return f"{name}: {encoded.encode(linesep=self.linesep)}{self.linesep}"

    def fold_binary(self, name: str, value: str) -> bytes:
        """Return it in bytes."""
        return self.fold(name, value).encode("ascii")


# No server on the way has to know 8BITMIME.
_POLICY = _MailPolicy(linesep="\r\n", cte_type="7bit")


class InvalidAddress(Exception):
    """An email address that a header cannot hold."""


@dataclass(frozen=True)
class Letters:
    """Makes letters. sender: the line above the address."""

    templates: Templates
    sender: str
    window: Window

    def render(self, ticket: ClearTicket, waiting: PendingDelivery) -> bytes:
        """Return the letter to a user, the same again for the same ticket. Raises InvalidTemplate, InvalidLetter."""
        language = self.templates.language_of("letter.txt", waiting)
        recipient, subject = waiting.recipient, waiting.entry.subject
        name = (recipient and recipient.name) or subject.user_ext_id
        return render_letter(
            self.templates.render("letter.txt", ticket, waiting),
            address=[name, *((recipient and recipient.postal_address) or ())],
            sender=self.sender,
            day=self.templates.day_of(waiting.entry.minted, language),
            window=self.window,
            language=language,
        )


@dataclass(frozen=True)
class MailComposer:
    """Makes mails. sender: what stands in From, such as `Tickets <tickets@bank.example>`."""

    templates: Templates
    letters: Letters
    sender: Address

    def text(self, ticket: ClearTicket, waiting: PendingDelivery) -> EmailMessage:
        """Return a mail in plain text. This, and each that follows, raises InvalidTemplate, InvalidAddress."""
        message = self._message(waiting)
        message.set_content(self.templates.render("mail.txt", ticket, waiting))
        return message

    def html(self, ticket: ClearTicket, waiting: PendingDelivery) -> EmailMessage:
        """Return a mail in HTML, with the same in plain text for those who read that."""
        message = self.text(ticket, waiting)
        message.add_alternative(self.templates.render("mail.html", ticket, waiting), subtype="html")
        return message

    def with_letter(self, ticket: ClearTicket, waiting: PendingDelivery) -> EmailMessage:
        """Return a mail that has the letter attached. Raises InvalidLetter, too."""
        message = self._message(waiting)
        message.set_content(self.templates.render("attached.txt", None, waiting))
        letter = self.letters.render(ticket, waiting)
        message.add_attachment(letter, maintype="application", subtype="pdf", filename="ticket.pdf")
        return message

    def _message(self, waiting: PendingDelivery) -> EmailMessage:
        address = waiting.recipient and waiting.recipient.email
        if not address or not _ADDRESS.fullmatch(address):
            raise InvalidAddress("the user's email address cannot be used")
        message = EmailMessage(policy=_POLICY)
        message["From"] = self.sender
        # The address alone: a display name is the caller's text, and header syntax could be smuggled in with it.
        message["To"] = Address(addr_spec=address)
        message["Subject"] = _one_line(self.templates.render("subject.txt", None, waiting))
        message["Date"] = _whole_second(waiting.entry.minted)
        # The same for every attempt, so that a double is recognisable.
        message["Message-ID"] = f"<{waiting.delivery_id}@{self.sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"
        return message


def parse_sender(text: str) -> Address:
    """Return the address of `Name <local@domain>` or `local@domain`. Raises ValueError."""
    match = _NAME_AND_ADDRESS.fullmatch(text)
    name, address = (match["name"].strip(), match["address"]) if match else ("", text)
    if not _ADDRESS.fullmatch(address) or not name.isprintable() or "=?" in name:
        raise ValueError("must be an address such as Tickets <tickets@bank.example>")
    return Address(display_name=name, addr_spec=address)


def _one_line(subject: str) -> str:
    """Return a subject as one line, in which nothing is decoded (RFC 2047): what a name says stays text."""
    line = "".join(character if character.isprintable() else " " for character in subject)
    return " ".join(line.split()).replace("=?", "= ?")


def _whole_second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
