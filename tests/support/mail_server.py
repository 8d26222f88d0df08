"""A mail server on loopback with scripted responses that keeps accepted mails."""

import asyncio
import email
import email.policy
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

OK = "250 taken"
HANGS, DROPS, DRIPS = "hangs", "drops", "drips"
_HANG_SECONDS = 3600


@dataclass(frozen=True)
class Mail:
    """A received mail. encrypted: by TLS. by: the number of the connection. helo: the name of its sender."""

    sender: str
    to: str
    message: EmailMessage = field(repr=False)
    content: bytes = field(repr=False)
    encrypted: bool
    user: str | None
    by: int
    helo: str

    @property
    def ticket(self) -> str:
        """The ticket in its text."""
        return ticket_of(self.message)


def ticket_of(message: EmailMessage) -> str:
    """Return the ticket in the text of a mail."""
    part = message.get_body(("plain",))
    assert part
    [ticket] = re.findall(r"^ {4}([^\r\n]+)\r?$", part.get_content(), re.MULTILINE)
    return str(ticket).replace(" ", "")


@dataclass
class MailServer:
    """Receives mails. answer_to: returns the response to RCPT or DATA of an address, finally OK.

    offered: every received mail, including rejected ones.
    """

    answer_to: Callable[[str, str], str] = lambda _step, _address: OK
    port: int = 0
    taken: list[Mail] = field(default_factory=list)
    offered: list[Mail] = field(default_factory=list)
    connections: int = 0

    def to(self, address: str) -> list[Mail]:
        """Return the mails for an address."""
        return [mail for mail in list(self.taken) if mail.to == address]

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's names
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        """Respond to a recipient."""
        reported = await self._reported(server, "RCPT", address)
        if reported == OK:
            envelope.rcpt_tos.append(address)
        return reported

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Respond to a mail. If the connection is dropped, the mail was accepted before."""
        [to] = envelope.rcpt_tos
        mail = _mail(server, session, envelope, to)
        self.offered.append(mail)
        reported = self.answer_to("DATA", to)
        if reported in (OK, DROPS):
            self.taken.append(mail)
        return await self._do(server, reported)

    async def _reported(self, server: SMTP, step: str, address: str) -> str:
        return await self._do(server, self.answer_to(step, address))

    async def _do(self, server: SMTP, reported: str) -> str:
        if reported == HANGS:
            await asyncio.sleep(_HANG_SECONDS)
        if reported == DROPS:
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        while reported == DRIPS:
            await server.push("250-wait")
            await asyncio.sleep(0.05)
        return reported


def _mail(server: SMTP, session: Session, envelope: Envelope, to: str) -> Mail:
    assert isinstance(envelope.content, bytes)
    assert server.transport
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return Mail(
        envelope.mail_from or "",
        to,
        message,
        envelope.content,
        server.transport.get_extra_info("ssl_object") is not None,
        session.auth_data.login.decode() if session.auth_data else None,
        server.connection_number,  # type: ignore[attr-defined]
        session.host_name or "",
    )


@dataclass
class _Login:
    login: bytes


@contextmanager
def mail_server(
    answer_to: Callable[[str, str], str] = lambda _step, _address: OK,
    *,
    port: int = 0,
    starttls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
    login: tuple[str, str] | None = None,
    smtputf8: bool = False,
) -> Iterator[MailServer]:
    """Yield a mail server. login: the required user and password."""
    box = MailServer(answer_to)
    loop = asyncio.new_event_loop()

    def authenticated(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        good = login is not None and (data.login, data.password) == tuple(part.encode() for part in login)
        return AuthResult(success=good, handled=False, auth_data=_Login(data.login))

    transports: list[asyncio.Transport] = []

    class Connection(SMTP):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transports.append(transport)  # type: ignore[arg-type]
            super().connection_made(transport)

    def protocol() -> SMTP:
        box.connections += 1
        made = Connection(
            box,
            tls_context=starttls,
            require_starttls=starttls is not None,
            auth_required=login is not None,
            auth_require_tls=True,
            authenticator=authenticated,
            loop=loop,
            enable_SMTPUTF8=smtputf8,
        )
        made.connection_number = box.connections  # type: ignore[attr-defined]
        return made

    server = loop.run_until_complete(loop.create_server(protocol, "127.0.0.1", port, ssl=tls))
    box.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield box
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(_ended(server, transports))
        loop.close()


async def _ended(server: asyncio.Server, transports: list[asyncio.Transport]) -> None:
    # Closing comes last: Python 3.11 leaves a connection open that it accepts after the close.
    asyncio.get_running_loop().remove_reader(server.sockets[0].fileno())
    await _later_iterations()
    for transport in transports:
        transport.abort()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await _later_iterations()
    server.close()


async def _later_iterations() -> None:
    """Let connections open or close, which takes several iterations of the loop, most with TLS."""
    for _ in range(100):
        await asyncio.sleep(0)
