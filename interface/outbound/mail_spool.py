"""The first delivery adapter: each ticket as an .eml file in a directory, for a mailer to pick up."""

import os
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

from application.ports import OutboxEntry
from application.recipient import Recipient
from domain.ticket import ClearTicket
from interface.outbound.durable_file import locked_directory, write_durably

_TEXT = """\
Hello {name},

Here is your new ticket:

    {ticket}

It can be used once. A ticket that you received before no longer works.
If you did not expect this message, tell your helpdesk.
"""


class MailSpool:
    """Writes `<delivery id>.eml`, mode 0600, into a directory of mode 0700.

    The file appears whole or not at all, and the same ticket delivered again is the same file.
    """

    def __init__(self, directory: Path, sender: str) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._sender = sender

    def deliver(self, ticket: ClearTicket, recipient: Recipient, entry: OutboxEntry) -> None:
        """Write the mail and bring it to the disk. Raises OSError."""
        path = self._directory / f"{entry.delivery_id}.eml"
        with locked_directory(self._directory) as directory:
            if not path.exists():
                # One process at a time writes here, so a draft of this name is what a crash left over.
                draft = path.with_suffix(".draft")
                draft.unlink(missing_ok=True)
                write_durably(draft, self._message(ticket, recipient, entry).as_bytes(policy=SMTP))
                draft.rename(path)
                os.fsync(directory)

    def _message(self, ticket: ClearTicket, recipient: Recipient, entry: OutboxEntry) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["From"] = self._sender
        # The address alone: a display name is the caller's text, and header syntax (RFC 2047 words among it) could
        # be smuggled in with it. The name stands in the text, where it is only text.
        message["To"] = Address(addr_spec=recipient.email)
        message["Subject"] = "Your new ticket"
        message["Date"] = entry.minted
        message["Message-ID"] = f"<{entry.delivery_id}@tickets>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(
            _TEXT.format(name=recipient.name or recipient.user_ext_id, ticket=ticket.reveal())
        )
        return message
