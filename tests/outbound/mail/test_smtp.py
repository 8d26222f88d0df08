"""Mails against a real SMTP server, however it behaves."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from application.delivery.courier import NotDelivered
from interface.outbound.mail.smtp import SmtpTransport, parse_smtp_url
from tests.support.certificates import self_signed, server_context
from tests.support.mail_server import DRIPS, DROPS, HANGS, OK, MailServer, mail_server

TO = "una@example.com"


def mail() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Your new ticket"
    message.set_content("Hello,\n\n    the-ticket\n.\nA line with a dot alone stands above.\n")
    return message


async def sent(transport: SmtpTransport, to: str = TO) -> str:
    """Return the response, or the code and message of a rejection, without an address; `!`: final."""
    try:
        return await transport.send(mail().as_bytes(), to, "name")
    except NotDelivered as error:
        return f"{error.answer}{'!' if error.final else ''}: {str(error).replace(to, 'an address')}"


def transport_to(
    url: str,
    *,
    ca_file: Path | None = None,
    timeout_seconds: float = 10,
    helo: str | None = "tickets.bank.example",
) -> SmtpTransport:
    return SmtpTransport(
        parse_smtp_url(url),
        sender="tickets@bank.example",
        helo=helo,
        ca_file=ca_file,
        timeout_seconds=timeout_seconds,
    )


def send(url: str, *addresses: str, **terms: object) -> list[str]:
    """Send a mail to each address, one after the other, over one transport."""

    async def run() -> list[str]:
        transport = transport_to(url, **terms)  # type: ignore[arg-type]
        try:
            return [await sent(transport, to) for to in addresses or (TO,)]
        finally:
            await transport.close()

    return asyncio.run(run())


@contextmanager
def plain(answer_to: Callable[[str, str], str] = lambda _step, _to: OK) -> Iterator[tuple[MailServer, str]]:
    with mail_server(answer_to) as server:
        yield server, f"smtp+plain://127.0.0.1:{server.port}"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return self_signed(tmp_path / "server.pem")


def test_a_mail_arrives_complete() -> None:
    with plain() as (server, url):
        assert send(url) == ["250"]

    [taken] = server.taken
    assert (taken.sender, taken.to) == ("tickets@bank.example", TO)
    assert taken.content.replace(b"\r\n", b"\n") == mail().as_bytes()


def test_connections_are_reused_unless_broken() -> None:
    with plain() as (server, url):
        assert send(url, *[f"user-{number}@example.com" for number in range(5)]) == ["250"] * 5
        assert server.connections == 1

        async def over_a_restart() -> list[str]:
            transport = transport_to(url)
            first = await sent(transport)
            for connection in transport._idle:
                connection.smtp.close()
            second = await sent(transport)
            await transport.close()
            return [first, second]

        assert asyncio.run(over_a_restart()) == ["250", "250"]
        assert server.connections == 3


def test_a_connection_is_renewed_after_a_hundred_mails() -> None:
    with plain() as (server, url):
        assert set(send(url, *[TO] * 101)) == {"250"}

    assert [mail.by for mail in server.taken] == [1] * 100 + [2]


@pytest.mark.parametrize(
    ("step", "reported", "expected"),
    [
        (
            "RCPT",
            "550 5.1.1 una@example.com is unknown",
            "550!: the mail server responded with 550 to RCPT TO",
        ),
        ("RCPT", "450 4.2.1 busy", "450: the mail server responded with 450 to RCPT TO"),
        ("DATA", "554 5.7.1 spam", "554!: the mail server responded with 554 to DATA"),
        ("DATA", "451 4.3.0 later", "451: the mail server responded with 451 to DATA"),
        ("DATA", "421 going down", "421: the mail server responded with 421 to DATA"),
        ("DATA", DROPS, "disconnected: the mail server closed the connection at DATA"),
        ("RCPT", DROPS, "disconnected: the mail server closed the connection at RCPT TO"),
    ],
)
def test_responses_are_reported_by_code_and_5xx_to_the_mail_is_final(
    step: str, reported: str, expected: str
) -> None:
    def answer_to(at: str, to: str) -> str:
        return reported if (at, to) == (step, TO) else OK

    with plain(answer_to) as (_, url):
        assert send(url, TO, "other@example.com", timeout_seconds=60) == [expected, "250"]


@pytest.mark.parametrize(
    ("step", "does", "named"), [("RCPT", HANGS, "RCPT TO"), ("DATA", HANGS, "DATA"), ("DATA", DRIPS, "DATA")]
)
def test_a_slow_server_is_bounded_by_the_time_limit(step: str, does: str, named: str) -> None:
    with plain(lambda at, _to: does if at == step else OK) as (_, url):
        assert send(url, timeout_seconds=0.5) == [
            f"timeout: the mail server did not accept the mail within 0.5 seconds: no response to {named}"
        ]


def scripted(responses: dict[str, str]) -> Callable[[socket.socket], None]:
    """Serve one connection by the script: the response to each command, or 250."""

    def serve(line: socket.socket) -> None:
        with line, line.makefile("rwb") as file:
            file.write((responses.get("", "220 here") + "\r\n").encode())
            file.flush()
            while command := file.readline().decode().split(" ")[0].strip():
                file.write((responses.get(command, "250 fine") + "\r\n").encode())
                file.flush()

    return serve


@contextmanager
def serves_once(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Yield the port of a server for one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=lambda: serve(listening.accept()[0]))
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("scheme", "responses", "expected"),
    [
        ("smtp+plain", {"": "554 no"}, "554: the mail server responded with 554 to the connection"),
        (
            "smtp+plain",
            {"EHLO": "504 need a name with a dot", "HELO": "504 no"},
            "504: the mail server responded with 504 to EHLO",
        ),
        ("smtp", {"EHLO": "504 no"}, "504: the mail server responded with 504 to EHLO"),
        (
            "smtp",
            {"EHLO": "250-here\r\n250 STARTTLS", "STARTTLS": "454 later"},
            "454: the mail server responded with 454 to STARTTLS",
        ),
        ("smtp+plain", {"MAIL": "530 no"}, "530: the mail server responded with 530 to MAIL FROM"),
        ("smtp+plain", {"RCPT": "450 no"}, "450: the mail server responded with 450 to RCPT TO"),
        ("smtp+plain", {"DATA": "451 no"}, "451: the mail server responded with 451 to DATA"),
    ],
)
def test_the_refused_step_is_named(scheme: str, responses: dict[str, str], expected: str) -> None:
    with serves_once(scripted(responses)) as port:
        assert send(f"{scheme}://127.0.0.1:{port}") == [expected]


@pytest.mark.parametrize(
    ("own", "helo", "expected"),
    [
        ("localhost", None, "bank.example"),
        ("3f9c0a1b2c3d", None, "bank.example"),
        ("localhost.localdomain", None, "bank.example"),
        ("web_1.net_1", None, "bank.example"),
        ("host.bank.example", None, "host.bank.example"),
        ("host.bank.example", "tickets.example", "tickets.example"),
        ("localhost", "[192.0.2.1]", "[192.0.2.1]"),
    ],
)
def test_the_name_for_ehlo_is_a_domain(
    monkeypatch: pytest.MonkeyPatch, own: str, helo: str | None, expected: str
) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda: own)
    with plain() as (server, url):
        assert send(url, helo=helo) == ["250"]

    assert server.taken[0].helo == expected


def test_a_local_part_beyond_ascii_is_sent_by_smtputf8_only() -> None:
    to = "jörg@xn--zrich-kva.ch"
    with mail_server(smtputf8=True) as server:
        assert send(f"smtp+plain://127.0.0.1:{server.port}", to, TO) == ["250", "250"]
    assert [mail.to for mail in server.taken] == [to, TO]

    with plain() as (server, url):
        assert send(url, to, TO) == [
            "no-smtputf8!: the user's email address needs SMTPUTF8, which the mail server does not offer",
            "250",
        ]
    assert [mail.to for mail in server.taken] == [TO]


def test_a_closed_port_is_reported() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"smtp+plain://127.0.0.1:{reserved.getsockname()[1]}"
        assert send(url) == ["no-connection: cannot connect to the mail server"]


def test_starttls_with_a_login(certificate: Path) -> None:
    with mail_server(starttls=server_context(certificate), login=("tickets", "p@ss/word")) as server:
        url = f"smtp://tickets:p%40ss%2Fword@localhost:{server.port}"
        assert send(url, ca_file=certificate) == ["250"]

    [taken] = server.taken
    assert (taken.encrypted, taken.user) == (True, "tickets")


def test_tls_from_the_start(certificate: Path) -> None:
    with mail_server(tls=server_context(certificate)) as server:
        assert send(f"smtps://localhost:{server.port}", ca_file=certificate) == ["250"]

    assert server.taken[0].encrypted


@contextmanager
def greets_and_hangs(context: ssl.SSLContext, greeting: bytes) -> Iterator[int]:
    """Greet the first client and then read nothing, not even the TLS closure; yields the port."""
    over = threading.Event()

    def greet(listening: socket.socket) -> None:
        with context.wrap_socket(listening.accept()[0], server_side=True) as line:
            line.sendall(greeting)
            over.wait(30)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=greet, args=(listening,))
        thread.start()
        yield listening.getsockname()[1]
        over.set()
        thread.join()


@pytest.mark.parametrize("greeting", [b"220 here\r\n", b"554 not here\r\n", b"2"])
def test_an_abandoned_connection_is_closed_immediately(certificate: Path, greeting: bytes) -> None:
    """By default, TLS waits half a minute for the peer's closure."""

    async def run(url: str) -> tuple[str, list[str]]:
        reported = await sent(transport_to(url, ca_file=certificate, timeout_seconds=1))
        await asyncio.sleep(0)  # the connection is closed in the next iteration of the loop
        lines = psutil.Process().net_connections("tcp")
        return reported, [
            line.status for line in lines if line.raddr and line.raddr.port == urlsplit(url).port
        ]

    with greets_and_hangs(server_context(certificate), greeting) as port:
        reported, lines = asyncio.run(run(f"smtps://localhost:{port}"))

    assert reported.startswith(("timeout: ", "554: "))
    assert psutil.CONN_ESTABLISHED not in lines


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_an_untrusted_server_gets_nothing(certificate: Path, scheme: str) -> None:
    context = server_context(certificate)
    with mail_server(**{"tls" if scheme == "smtps" else "starttls": context}) as server:  # type: ignore[arg-type]
        [reported] = send(f"{scheme}://localhost:{server.port}")

    assert reported.startswith("bad-certificate: the mail server's certificate was rejected: self-signed")
    assert server.taken == []


@pytest.mark.parametrize(
    ("host", "lasts", "why"),
    [
        ("other.example", timedelta(days=1), "Hostname mismatch"),
        ("localhost", timedelta(hours=-1), "expired"),
    ],
)
def test_a_certificate_for_another_host_or_an_expired_one_is_rejected(
    tmp_path: Path, host: str, lasts: timedelta, why: str
) -> None:
    certificate = self_signed(tmp_path / "wrong.pem", host=host, lasts=lasts)
    with mail_server(tls=server_context(certificate)) as server:
        [reported] = send(f"smtps://localhost:{server.port}", ca_file=certificate)

    assert reported.startswith("bad-certificate: ")
    assert why in reported


def test_without_starttls_nothing_is_sent_in_clear() -> None:
    with mail_server() as server:
        assert send(f"smtp://127.0.0.1:{server.port}") == [
            "no-tls: the mail server does not support STARTTLS"
        ]

    assert server.taken == []


def test_a_wrong_password_is_retried_later(certificate: Path) -> None:
    with mail_server(starttls=server_context(certificate), login=("tickets", "right")) as server:
        url = f"smtp://tickets:wrong@localhost:{server.port}"
        assert send(url, ca_file=certificate) == ["535: the mail server responded with 535 to AUTH"]


def test_at_most_eight_mails_are_sent_concurrently() -> None:
    async def run(url: str) -> list[str]:
        transport = transport_to(url, timeout_seconds=60)
        answers = await asyncio.gather(
            *(sent(transport, f"user-{number}@example.com") for number in range(40))
        )
        await transport.close()
        return answers

    with plain() as (server, url):
        assert set(asyncio.run(run(url))) == {"250"}

    assert 1 < server.connections <= 8


@pytest.mark.parametrize(
    "url",
    [
        "http://mail.example",
        "smtp://",
        "smtp://mail.example/path",
        "smtp://user@mail.example",
        "smtp://user:secret@mail.example:99999",
        "smtp+plain://user:secret@mail.example",
        "smtp://user:se/cret@mail.example",
    ],
)
def test_an_invalid_url_is_reported_without_its_password(url: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        parse_smtp_url(url)

    assert "secret" not in str(raised.value)
    assert "se/cret" not in str(raised.value)


def test_a_password_is_never_printed() -> None:
    assert "secret" not in repr(parse_smtp_url("smtp://user:secret@mail.example"))
    assert parse_smtp_url("smtp://user:secret@mail.example").port == 587
