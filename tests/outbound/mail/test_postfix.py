"""Mails by Debian's Postfix, over STARTTLS with a login, into a mailbox."""

import asyncio
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from application.delivery.courier import NotDelivered
from interface.outbound.mail.smtp import SmtpTransport, parse_smtp_url
from tests.support.command import command
from tests.support.deliveries import QUICK, all_over, holds_ticket_of, minting, subjects
from tests.support.postfix import (
    BUSY,
    LARGEST_MAIL_BYTES,
    MAILBOX,
    Postfix,
    needs_postfix,
    postfix_server,
)

pytestmark = needs_postfix

TEXT = "Grüezi Zoë,\n\n    the-ticket\n.\n..\nFrom the bank.\n"


@pytest.fixture(scope="module")
def running_postfix() -> Iterator[Postfix]:
    with postfix_server() as server:
        yield server


@pytest.fixture
def postfix(running_postfix: Postfix) -> Postfix:
    """With an empty mailbox."""
    for mail in running_postfix.directory.glob("boxes/una/new/*"):
        mail.unlink()
    return running_postfix


def mail(text: str = TEXT) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Ihr neues Ticket für den Zugang"
    message["Message-ID"] = "<the-ticket-1@bank.example>"
    message.set_content(text, cte="quoted-printable")
    return message


async def sent(transport: SmtpTransport, message: EmailMessage, to: str) -> str:
    try:
        return await transport.send(message.as_bytes(), to, "name")
    except NotDelivered as error:
        return f"{error.answer}{'!' if error.final else ''}: {error}"


def send(server: Postfix, *mails: tuple[EmailMessage, str], url: str = "") -> list[str]:
    """Send the mails one after the other over one transport, and return the responses; `!`: final."""

    async def run() -> list[str]:
        transport = SmtpTransport(
            parse_smtp_url(url or server.url),
            sender="tickets@bank.example",
            helo=None,
            ca_file=server.certificate,
            timeout_seconds=10,
        )
        try:
            return [await sent(transport, message, to) for message, to in mails]
        finally:
            await transport.close()
            await all_closed()

    return asyncio.run(run())


async def all_closed() -> None:
    """Wait until the peer has closed TLS; a socket that is open then was leaked."""
    transports = asyncio.get_running_loop()._transports  # type: ignore[attr-defined]
    async with asyncio.timeout(10):
        while any(transport._sock for transport in transports.values()):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)


def test_mails_arrive_complete_in_the_mailbox(postfix: Postfix) -> None:
    assert send(postfix, *[(mail(), MAILBOX)] * 3) == ["250"] * 3

    for taken in postfix.has(3):
        assert taken.get_content() == TEXT
        assert taken["Subject"] == "Ihr neues Ticket für den Zugang"
        assert taken["Message-ID"] == "<the-ticket-1@bank.example>"
        assert taken["Return-Path"] == "<tickets@bank.example>"
        assert "with ESMTPSA" in taken["Received"]  # by TLS, and logged in


@pytest.mark.parametrize(
    ("to", "text", "expected"),
    [
        ("unknown@bank.example", TEXT, "550!: the mail server responded with 550 to RCPT TO"),
        ("una@elsewhere.example", TEXT, "554!: the mail server responded with 554 to RCPT TO"),
        (BUSY, TEXT, "450: the mail server responded with 450 to RCPT TO"),
        (MAILBOX, "x\n" * LARGEST_MAIL_BYTES, "552!: the mail server responded with 552 to DATA"),
    ],
    ids=["unknown", "elsewhere", "busy", "too large"],
)
def test_a_rejected_mail_is_reported_and_the_next_one_is_sent(
    postfix: Postfix, to: str, text: str, expected: str
) -> None:
    assert send(postfix, (mail(text), to), (mail(), MAILBOX)) == [expected, "250"]

    [taken] = postfix.has(1)
    assert taken.get_content() == TEXT


def test_a_wrong_password_is_not_final(postfix: Postfix) -> None:
    url = f"smtp://tickets:wrong@localhost:{postfix.port}"

    assert send(postfix, (mail(), MAILBOX), url=url) == ["535: the mail server responded with 535 to AUTH"]


def test_nothing_is_sent_in_clear(postfix: Postfix) -> None:
    url = f"smtp+plain://localhost:{postfix.port}"

    assert send(postfix, (mail(), MAILBOX), url=url) == [
        "530: the mail server responded with 530 to MAIL FROM"
    ]


def test_a_ticket_arrives_in_the_mailbox_after_an_outage_of_postfix(
    postfix: Postfix, sqlite_url: str, tmp_path: Path
) -> None:
    [user] = subjects(1)
    settings = {
        **QUICK,
        "TICKETS_DATABASE_URL": sqlite_url,
        "TICKETS_SMTP_URL": postfix.url,
        "TICKETS_SMTP_CA_FILE": str(postfix.certificate),
        "TICKETS_MAIL_FROM": "Tickets <tickets@bank.example>",
    }
    with minting(tmp_path, sqlite_url) as mint, command(tmp_path, "deliver", **settings) as worker:
        mint.create(user, email=MAILBOX)
        all_over(sqlite_url)
        postfix.stop()
        mint.reset(user)
        worker.reported("cannot connect to the mail server")
        postfix.start()
        all_over(sqlite_url)
        assert worker.stop() == 0

    mails = {mail["Message-ID"].partition("@")[0][-2:]: mail for mail in postfix.has(2)}
    assert [holds_ticket_of(sqlite_url, user, mails[version]) for version in ("-1", "-2")] == [False, True]
