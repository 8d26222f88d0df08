"""SMTP: sends mails to the operator's mail server, over pooled connections."""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import unquote, urlsplit

from aiosmtplib import (
    SMTP,
    SMTPConnectError,
    SMTPDataError,
    SMTPException,
    SMTPHeloError,
    SMTPRecipientRefused,
    SMTPResponseException,
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
_DOMAIN_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


class Step(StrEnum):
    """A step of sending a mail, as named in errors."""

    CONNECTION = "the connection"
    EHLO = "EHLO"
    TLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA"


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


@dataclass
class _Progress:
    """The current step; errors name it."""

    step: Step = Step.CONNECTION


class SmtpTransport:
    """Sends mails. Of the server's responses only the codes are kept: the texts can contain an address.

    sender: of the envelope. helo: the name of this host for the server; None: the host's domain name, or else the domain of
    the sender. ca_file: CA certificates for the server, instead of the system's. timeout_seconds: of a complete mail.
    """

    def __init__(
        self, url: SmtpUrl, *, sender: str, helo: str | None, ca_file: Path | None, timeout_seconds: float
    ) -> None:
        self._url = url
        self._sender = sender
        self._helo = helo
        self._timeout_seconds = timeout_seconds
        self._tls = None if url.tls is Tls.NONE else ssl.create_default_context(cafile=ca_file)
        self._idle: list[_Connection] = []
        self._free = asyncio.Semaphore(_CONNECTIONS)

    async def send(self, content: bytes, to: str, _name: str) -> str:
        """Send a mail and return the server's response code. Raises NotDelivered."""
        async with self._free, self._bounded("accept the mail") as progress:
            return await self._send(content, to, progress)

    async def check(self) -> None:
        """Connect and log in without sending a mail. Raises NotDelivered."""
        async with self._bounded("respond") as progress:
            await _quit(await self._new(progress))

    async def close(self) -> None:
        """Close the connections."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_quit(connection) for connection in idle))

    @asynccontextmanager
    async def _bounded(self, action: str) -> AsyncIterator[_Progress]:
        """Limit the time that the server may take. Raises NotDelivered for any error of it."""
        progress = _Progress()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                yield progress
        except (TimeoutError, SMTPTimeoutError):
            limit = f"within {self._timeout_seconds:g} seconds: no response to {progress.step}"
            raise NotDelivered(f"the mail server did not {action} {limit}", "timeout") from None
        except SMTPResponseException as error:
            raise _rejected(error, progress.step) from None
        except (SMTPException, OSError, ValueError) as error:
            raise _no_response(error, progress.step) from None

    async def _send(self, content: bytes, to: str, progress: _Progress) -> str:
        connection = await self._kept() or await self._new(progress)
        smtp = connection.smtp
        try:
            progress.step = Step.MAIL
            await smtp.mail(self._sender, options=_options(smtp, to))
            progress.step = Step.RCPT
            await smtp.rcpt(to, encoding="utf-8")
            progress.step = Step.DATA
            code = (await smtp.data(content)).code
        except (SMTPResponseException, NotDelivered):
            await self._keep(connection)
            raise
        except BaseException:
            smtp.close()  # a late response would be mistaken for that to the next mail
            raise
        await self._keep(connection)
        return str(code)

    async def _new(self, progress: _Progress) -> _Connection:
        url = self._url
        # Servers refuse names without a dot, such as localhost or the name of a container.
        self._helo = self._helo or await asyncio.to_thread(_own_name, self._sender.rpartition("@")[2])
        smtp = _Smtp(
            hostname=url.host,
            port=url.port,
            local_hostname=self._helo,
            use_tls=url.tls is Tls.IMPLICIT,
            start_tls=False,
            tls_context=self._tls,
            timeout=self._timeout_seconds,
        )
        await smtp.connect()
        try:
            await self._introduce(smtp, progress)
        except BaseException:
            smtp.close()
            raise
        return _Connection(smtp)

    async def _introduce(self, smtp: SMTP, progress: _Progress) -> None:
        """Send EHLO, encrypt the connection and log in, as the URL requires."""
        url = self._url
        progress.step = Step.EHLO
        try:
            await smtp.ehlo()
        except SMTPHeloError as refused:
            if url.tls is not Tls.NONE:
                raise
            try:  # a server without extensions
                await smtp.helo()
            except SMTPHeloError:
                raise refused from None
        if url.tls is Tls.STARTTLS:
            progress.step = Step.TLS
            await smtp.starttls()
            progress.step = Step.EHLO
            await smtp.ehlo()
        if url.username is not None and url.password is not None:
            progress.step = Step.AUTH
            await smtp.login(url.username, url.password)

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


def _options(smtp: SMTP, to: str) -> list[str]:
    """Return the options of a mail (RFC 6531). Raises NotDelivered if the server cannot send to the address."""
    if to.isascii():
        return []
    if not smtp.supports_extension("smtputf8"):
        raise NotDelivered(
            "the user's email address needs SMTPUTF8, which the mail server does not offer",
            "no-smtputf8",
            final=True,
        )
    return ["SMTPUTF8", "BODY=8BITMIME"]


def _own_name(domain: str) -> str:
    """Return the domain name of this host, or else the given domain."""
    name = socket.getfqdn()
    return name if _DOMAIN_NAME.fullmatch(name) and not name.endswith(".localdomain") else domain


def _rejected(error: SMTPResponseException, step: Step) -> NotDelivered:
    """Return the error of a response; a permanent rejection of the recipient or the mail is final."""
    final = isinstance(error, _ABOUT_THE_MAIL) and error.code >= _PERMANENT
    return NotDelivered(
        f"the mail server responded with {error.code} to {step}", str(error.code), final=final
    )


def _no_response(error: Exception, step: Step) -> NotDelivered:
    match error.__cause__ or error:
        case ssl.SSLCertVerificationError() as fault:
            return NotDelivered(
                f"the mail server's certificate was rejected: {fault.verify_message}", "bad-certificate"
            )
        case ssl.SSLError():
            return NotDelivered("no acceptable TLS version of the mail server", "no-tls")
        case SMTPServerDisconnected() | ConnectionResetError():
            return NotDelivered(f"the mail server closed the connection at {step}", "disconnected")
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
