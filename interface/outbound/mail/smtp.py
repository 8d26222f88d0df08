"""SMTP: mails to the operator's own mail server, over connections that are kept."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import unquote, urlsplit

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from application.delivery.deliver_tickets import NotDelivered

# A mail server takes a few at a time from one sender (postfix: smtpd_client_connection_count_limit, 50).
_CONNECTIONS = 8
# Shorter than servers wait for the next mail (postfix: 300 s; exim: 300 s), and before one counts as too busy.
_IDLE_SECONDS = 30
_MAILS_PER_CONNECTION = 100
_PERMANENT = 500
_QUIT_SECONDS = 2
_PORTS = {"smtp": 587, "smtps": 465, "smtp+plain": 25}
_ABOUT_THE_MAIL = (SMTPRecipientRefused, SMTPDataError)
_ANSWERS_TO = {
    SMTPRecipientRefused: "the recipient",
    SMTPDataError: "the mail",
    SMTPSenderRefused: "the sender",
    SMTPAuthenticationError: "the login",
}


class Tls(StrEnum):
    """How a connection is encrypted."""

    STARTTLS = "smtp"
    IMPLICIT = "smtps"
    NONE = "smtp+plain"


class SmtpUrl(NamedTuple):
    """A mail server. username, password: None where it asks for none."""

    tls: Tls
    host: str
    port: int
    username: str | None
    password: str | None

    def __repr__(self) -> str:
        return f"SmtpUrl({self.tls}://***@{self.host}:{self.port})"


def parse_smtp_url(text: str) -> SmtpUrl:
    """Return the parts of `smtp://user:password@host:port`, percent-encoded. Raises ValueError, which holds no secret."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError("is no URL; percent-encode what stands in its password") from None
    if url.scheme not in _PORTS or not url.hostname or url.path.strip("/") or url.query or url.fragment:
        raise ValueError(
            "must be smtp://user:password@host:587 (STARTTLS), smtps://… (TLS), or smtp+plain://host:25 (neither)"
        )
    if (url.username is None) != (url.password is None):
        raise ValueError("needs a user and a password, or neither")
    if url.username and url.scheme == Tls.NONE:
        raise ValueError("a password does not go over a connection without TLS: use smtp:// or smtps://")
    return SmtpUrl(
        Tls(url.scheme),
        url.hostname,
        port or _PORTS[url.scheme],
        unquote(url.username) if url.username else None,
        unquote(url.password) if url.password else None,
    )


@dataclass
class _Connection:
    smtp: SMTP
    transport: asyncio.Transport
    mails: int = 0
    used_at: float = 0

    def drop(self) -> None:
        """Give the line up at once: a goodbye by TLS, or what was not sent yet, would wait for a server that hangs."""
        self.transport.abort()
        self.smtp.close()


class SmtpTransport:
    """Sends mails. What the server says beside its codes is not kept: it may repeat an address.

    sender: the envelope's. ca_file: who vouches for the server, in the place of those whom the system trusts.
    timeout_seconds: for the whole of one mail.
    """

    def __init__(self, url: SmtpUrl, *, sender: str, ca_file: Path | None, timeout_seconds: float) -> None:
        self._url = url
        self._sender = sender
        self._timeout_seconds = timeout_seconds
        self._tls = None if url.tls is Tls.NONE else ssl.create_default_context(cafile=ca_file)
        self._idle: list[_Connection] = []
        self._free = asyncio.Semaphore(_CONNECTIONS)

    async def send(self, message: EmailMessage, to: str, _name: str) -> str:
        """Hand a mail over, and return the server's code. Raises NotDelivered."""
        content = message.as_bytes()
        async with self._free, self._told("take it"):
            return await self._send(content, to)

    async def check(self) -> None:
        """Connect, encrypt and log in as for a mail, and send none. Raises NotDelivered."""
        async with self._told("answer"):
            await _quit(await self._new())

    async def close(self) -> None:
        """Close the connections."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_quit(connection) for connection in idle))

    @asynccontextmanager
    async def _told(self, what: str) -> AsyncIterator[None]:
        """Bound how long the server may take, and tell as NotDelivered what goes wrong with it."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                yield
        except (TimeoutError, SMTPTimeoutError):
            said = f"the mail server did not {what} within {self._timeout_seconds:g} seconds"
            raise NotDelivered(said, "timeout") from None
        except SMTPResponseException as error:
            raise _not_taken(error) from None
        except (SMTPException, OSError, ValueError) as error:
            raise _no_answer(error) from None

    async def _send(self, content: bytes, to: str) -> str:
        connection = await self._kept() or await self._new()
        smtp = connection.smtp
        try:
            await smtp.mail(self._sender)
            await smtp.rcpt(to)
            code = (await smtp.data(content)).code
        except SMTPResponseException:
            await self._keep(connection)
            raise
        except BaseException:
            connection.drop()  # an answer may still come, which would be taken for that to the next mail
            raise
        await self._keep(connection)
        return str(code)

    async def _new(self) -> _Connection:
        url = self._url
        smtp = SMTP(
            hostname=url.host,
            port=url.port,
            username=url.username,
            password=url.password,
            use_tls=url.tls is Tls.IMPLICIT,
            start_tls=url.tls is Tls.STARTTLS,
            tls_context=self._tls,
            timeout=self._timeout_seconds,
        )
        await smtp.connect()
        # The types of uvloop are not asyncio's, but do the same.
        return _Connection(smtp, cast("asyncio.Transport", smtp.transport))

    async def _kept(self) -> _Connection | None:
        """Return a connection of before that the server still answers on."""
        oldest = asyncio.get_running_loop().time() - _IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            with suppress(SMTPException, OSError):
                if connection.used_at > oldest:
                    await connection.smtp.rset()
                    return connection
            connection.drop()
        return None

    async def _keep(self, connection: _Connection) -> None:
        connection.mails += 1
        connection.used_at = asyncio.get_running_loop().time()
        if connection.mails < _MAILS_PER_CONNECTION:
            self._idle.append(connection)
        else:
            await _quit(connection)


def _not_taken(error: SMTPResponseException) -> NotDelivered:
    """Return what an answer means: one that refuses this recipient or mail for good is final."""
    to = next((to for kind, to in _ANSWERS_TO.items() if isinstance(error, kind)), "the connection")
    final = isinstance(error, _ABOUT_THE_MAIL) and error.code >= _PERMANENT
    return NotDelivered(f"the mail server answered {error.code} to {to}", str(error.code), final=final)


def _no_answer(error: Exception) -> NotDelivered:
    match error.__cause__ or error:
        case ssl.SSLCertVerificationError() as fault:
            return NotDelivered(
                f"the mail server's certificate is not accepted: {fault.verify_message}", "bad-certificate"
            )
        case ssl.SSLError():
            return NotDelivered("the mail server speaks no TLS that is accepted here", "no-tls")
        case SMTPServerDisconnected() | ConnectionResetError():
            return NotDelivered("the mail server broke the connection off", "disconnected")
        case SMTPException() as fault if "STARTTLS" in str(fault):
            return NotDelivered("the mail server offers no STARTTLS", "no-tls")
        case SMTPException() as fault if not isinstance(fault, SMTPConnectError):
            return NotDelivered("the mail server offers no login that is known here", "no-login")
        case _:
            return NotDelivered("no connection to the mail server", "no-connection")


async def _quit(connection: _Connection) -> None:
    with suppress(SMTPException, OSError, TimeoutError):
        await connection.smtp.quit(timeout=_QUIT_SECONDS)
    connection.drop()
