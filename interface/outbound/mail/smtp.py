"""SMTP: sends mails to the operator's mail server, over pooled connections."""

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

from application.delivery.courier import NotDelivered

# Mail servers limit the connections of one client (postfix: smtpd_client_connection_count_limit, 50).
_CONNECTIONS = 8
# Shorter than the idle timeout of servers (postfix: 300 s; exim: 300 s).
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
    """The encryption of a connection."""

    STARTTLS = "smtp"
    IMPLICIT = "smtps"
    NONE = "smtp+plain"


class SmtpUrl(NamedTuple):
    """A mail server. username, password: None without a login."""

    tls: Tls
    host: str
    port: int
    username: str | None
    password: str | None

    def __repr__(self) -> str:
        return f"SmtpUrl({self.tls}://***@{self.host}:{self.port})"


def parse_smtp_url(text: str) -> SmtpUrl:
    """Return the parts of `smtp://user:password@host:port`, percent-encoded. Raises ValueError without secrets."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError("is not a URL: percent-encode special characters of the password") from None
    if url.scheme not in _PORTS or not url.hostname or url.path.strip("/") or url.query or url.fragment:
        raise ValueError(
            "must be smtp://user:password@host:587 (STARTTLS), smtps://… (TLS) or smtp+plain://host:25 (unencrypted)"
        )
    if (url.username is None) != (url.password is None):
        raise ValueError("must have both a user and a password, or neither")
    if url.username and url.scheme == Tls.NONE:
        raise ValueError("must not send a password without TLS: use smtp:// or smtps://")
    return SmtpUrl(
        Tls(url.scheme),
        url.hostname,
        port or _PORTS[url.scheme],
        unquote(url.username) if url.username else None,
        unquote(url.password) if url.password else None,
    )


class _Smtp(SMTP):
    """Aborts its connection: with TLS, a graceful closure would wait half a minute for a hanging server."""

    def close(self) -> None:
        """Close the connection immediately."""
        if self.transport is not None:
            # uvloop's types differ from asyncio's but behave the same.
            cast("asyncio.Transport", self.transport).abort()
        super().close()


@dataclass
class _Connection:
    smtp: SMTP
    mails: int = 0
    used_at: float = 0


class SmtpTransport:
    """Sends mails. Of the server's responses only the codes are kept: the texts can contain an address.

    sender: of the envelope. ca_file: CA certificates for the server, instead of the system's.
    timeout_seconds: of a complete mail.
    """

    def __init__(self, url: SmtpUrl, *, sender: str, ca_file: Path | None, timeout_seconds: float) -> None:
        self._url = url
        self._sender = sender
        self._timeout_seconds = timeout_seconds
        self._tls = None if url.tls is Tls.NONE else ssl.create_default_context(cafile=ca_file)
        self._idle: list[_Connection] = []
        self._free = asyncio.Semaphore(_CONNECTIONS)

    async def send(self, message: EmailMessage, to: str, _name: str) -> str:
        """Send a mail and return the server's response code. Raises NotDelivered."""
        content = message.as_bytes()
        async with self._free, self._bounded("accept the mail"):
            return await self._send(content, to)

    async def check(self) -> None:
        """Connect and log in without sending a mail. Raises NotDelivered."""
        async with self._bounded("respond"):
            await _quit(await self._new())

    async def close(self) -> None:
        """Close the connections."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_quit(connection) for connection in idle))

    @asynccontextmanager
    async def _bounded(self, action: str) -> AsyncIterator[None]:
        """Limit the time that the server may take. Raises NotDelivered for any error of it."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                yield
        except (TimeoutError, SMTPTimeoutError):
            message = f"the mail server did not {action} within {self._timeout_seconds:g} seconds"
            raise NotDelivered(message, "timeout") from None
        except SMTPResponseException as error:
            raise _rejected(error) from None
        except (SMTPException, OSError, ValueError) as error:
            raise _no_response(error) from None

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
            smtp.close()  # a late response would be mistaken for that to the next mail
            raise
        await self._keep(connection)
        return str(code)

    async def _new(self) -> _Connection:
        url = self._url
        smtp = _Smtp(
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
        return _Connection(smtp)

    async def _kept(self) -> _Connection | None:
        """Return an idle connection that still works."""
        oldest = asyncio.get_running_loop().time() - _IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            with suppress(SMTPException, OSError):
                if connection.used_at > oldest:
                    await connection.smtp.rset()
                    return connection
            connection.smtp.close()
        return None

    async def _keep(self, connection: _Connection) -> None:
        connection.mails += 1
        connection.used_at = asyncio.get_running_loop().time()
        if connection.mails < _MAILS_PER_CONNECTION:
            self._idle.append(connection)
        else:
            await _quit(connection)


def _rejected(error: SMTPResponseException) -> NotDelivered:
    """Return the error of a response; a permanent rejection of the recipient or the mail is final."""
    to = next((to for kind, to in _ANSWERS_TO.items() if isinstance(error, kind)), "the connection")
    final = isinstance(error, _ABOUT_THE_MAIL) and error.code >= _PERMANENT
    return NotDelivered(f"the mail server responded with {error.code} to {to}", str(error.code), final=final)


def _no_response(error: Exception) -> NotDelivered:
    match error.__cause__ or error:
        case ssl.SSLCertVerificationError() as fault:
            return NotDelivered(
                f"the mail server's certificate was rejected: {fault.verify_message}", "bad-certificate"
            )
        case ssl.SSLError():
            return NotDelivered("no acceptable TLS version of the mail server", "no-tls")
        case SMTPServerDisconnected() | ConnectionResetError():
            return NotDelivered("the mail server closed the connection", "disconnected")
        case SMTPException() as fault if "STARTTLS" in str(fault):
            return NotDelivered("the mail server does not support STARTTLS", "no-tls")
        case SMTPException() as fault if not isinstance(fault, SMTPConnectError):
            return NotDelivered("no supported login method of the mail server", "no-login")
        case _:
            return NotDelivered("cannot connect to the mail server", "no-connection")


async def _quit(connection: _Connection) -> None:
    with suppress(SMTPException, OSError, TimeoutError):
        await connection.smtp.quit(timeout=_QUIT_SECONDS)
    connection.smtp.close()
