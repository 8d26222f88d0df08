"""A mail contains the ticket, has one recipient, and has no foreign text in its headers."""

import asyncio
import email
import email.policy
import io
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.header import decode_header, make_header
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from application.delivery.courier import Courier, NotDelivered
from application.delivery.outbox import PendingDelivery
from domain.tickets.ticket import ClearTicket
from interface.outbound.letters.letter import Window
from interface.outbound.mail.couriers import LetterStore, MailCourier, MailSpool
from interface.outbound.mail.mail_composer import (
    Compose,
    InvalidAddress,
    Letters,
    MailComposer,
    parse_sender,
)
from interface.outbound.mail.templates import Templates
from tests.support.fakes import SUBJECT
from tests.support.files import files_in
from tests.support.pending import IN_GROUPS, TICKET, sample_pending

HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"]
HOSTILE = [
    'Eve "The" <eve@example.com>',
    "Una\r\nBcc: eve@example.com",
    "Una\nBcc: eve@example.com",
    "Una\rBcc: eve@example.com",
    "Una\x00\x85\x0b\x0c\u2028Bcc: eve@example.com",
    "eve@example.com, una@example.com; mallory@example.com",
    "=?utf-8?q?a=0d=0aBcc:=20eve@example.com?=",
    "=?utf-8?b?DQpCY2M6IGV2ZUBleGFtcGxlLmNvbQ==?=",
    "=?utf-8?q?=?=?utf-8?q?x?=",
    "\r\n\r\n<script>",
    "Ü" * 200,
    "W" * 200,
]
any_name = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
    st.lists(
        st.sampled_from(["=?", "?=", "utf-8", "?q?", "=0a", "\r\n", ",", " ", "ü", ":"]), min_size=1
    ).map("".join),
)


@cache
def letters(templates: Path | None = None) -> Letters:
    return Letters(Templates(templates, language="en", time_zone=ZoneInfo("UTC")), "The bank", Window.LEFT)


@cache
def mails(templates: Path | None = None, sender: str = "Tickets <tickets@bank.example>") -> MailComposer:
    made = letters(templates)
    return MailComposer(made.templates, made, parse_sender(sender))


def kinds(composer: MailComposer) -> dict[str, Compose]:
    return {"Email": composer.text, "HTMLemail": composer.html, "PDFemail": composer.with_letter}


KINDS = list(kinds(mails()))


def as_read(message: EmailMessage) -> EmailMessage:
    """Return the mail as parsed by its receiver."""
    return email.message_from_bytes(message.as_bytes(), policy=email.policy.default)


def body(message: EmailMessage, kind: str = "plain") -> str:
    part = message.get_body((kind,))
    assert part
    return str(part.get_content())


def text_of(pdf: bytes) -> str:
    [page] = PdfReader(io.BytesIO(pdf)).pages
    return page.extract_text()


def deliver(courier: Courier, *, pending: PendingDelivery | None = None) -> str:
    return asyncio.run(courier.deliver(TICKET, pending or sample_pending()))


def not_delivered(courier: Courier, pending: PendingDelivery | None = None) -> str:
    """Return the code and the message of a rejection; `!`: final."""
    with pytest.raises(NotDelivered) as raised:
        deliver(courier, pending=pending)
    assert TICKET.reveal() not in str(raised.value)
    assert "example.com" not in str(raised.value)
    return f"{raised.value.answer}{'!' if raised.value.final else ''}: {raised.value}"


@pytest.mark.parametrize("kind", KINDS)
def test_each_mail_has_these_headers_and_no_others(kind: str) -> None:
    message = as_read(kinds(mails())[kind](TICKET, sample_pending()))

    of_mime = {"MIME-Version", "Content-Type", "Content-Transfer-Encoding"}
    assert [name for name in message.keys() if name not in of_mime] == HEADERS  # noqa: SIM118 - with doubles
    assert {name: str(message[name]) for name in HEADERS} == {
        "From": "Tickets <tickets@bank.example>",
        "To": "una@example.com",
        "Subject": "Your new ticket",
        "Date": "Mon, 23 Nov 2026 09:42:00 +0000",
        "Message-ID": f"<{sample_pending().entry.delivery_id}@bank.example>",
        "Auto-Submitted": "auto-generated",
    }


@settings(max_examples=50)
@given(name=any_name, kind=st.sampled_from(["Email", "HTMLemail"]))
def test_a_name_is_text_and_never_in_a_header(name: str, kind: str) -> None:
    nameless = nameless_mail(kind)
    message = as_read(kinds(mails())[kind](TICKET, sample_pending(name=name)))

    assert [(key, message[key]) for key in HEADERS] == [(key, nameless[key]) for key in HEADERS]
    assert len(message.items()) == len(nameless.items())
    assert [part.get_content_type() for part in message.walk()] == [
        part.get_content_type() for part in nameless.walk()
    ]
    # Line ends are normalised to those of mails.
    assert "".join(name.split()) in "".join(body(message).split())
    assert IN_GROUPS in body(message)


@cache
def nameless_mail(kind: str) -> EmailMessage:
    return as_read(kinds(mails())[kind](TICKET, sample_pending(name="Una")))


@pytest.fixture(scope="module")
def subject_with_a_name(tmp_path_factory: pytest.TempPathFactory) -> MailComposer:
    templates = tmp_path_factory.mktemp("templates")
    (templates / "_" / "en").mkdir(parents=True)
    (templates / "_" / "en" / "subject.txt").write_text("Ticket for {{ name }}\nBcc: eve@example.com")
    return mails(templates)


@settings(max_examples=60)
@example(name="0 0¡\U0001cf00\U0001cf00\U0001d000\U0001d000\U0001d000\U0001d000\U0001d400 ¡")
@example(name="Żółć " * 30)
@example(name="W" * 80 + " " + "W" * 80)
@given(name=any_name)
def test_a_subject_with_a_name_is_one_line_without_encoded_words(
    subject_with_a_name: MailComposer, name: str
) -> None:
    message = as_read(subject_with_a_name.text(TICKET, sample_pending(name=name)))

    printable = "".join(character if character.isprintable() else " " for character in name)
    expected = " ".join(f"Ticket for {printable} Bcc: eve@example.com".split()).replace("=?", "= ?")
    assert message["Subject"] == expected
    assert [key for key in message.keys() if not key.startswith(("MIME", "Content"))] == HEADERS  # noqa: SIM118


@pytest.mark.parametrize(
    "address",
    [
        "una@example.com\r\nBcc: eve@example.com",
        "una@example.com\nBcc: eve@example.com",
        "una@example.com\n",
        "una@example.com\x00",
        "una@example.com, eve@example.com",
        "una@example.com,eve@example.com",
        "una@example.com; eve@example.com",
        "Una <una@example.com>",
        "all:una@example.com;",
        "=?utf-8?q?una?=@example.com",
        '"una, eve"@example.com',
        "una@[127.0.0.1]",
        "una@ex ämple.com",
        "una..user@example.com",
        "una@example..com",
        "una@@example.com",
        "una",
        "u" * 250 + "@example.com",
    ],
)
def test_an_invalid_address_never_becomes_a_header(address: str, tmp_path: Path) -> None:
    for compose in kinds(mails()).values():
        with pytest.raises(InvalidAddress):
            compose(TICKET, sample_pending(email=address))
    courier = MailCourier(mails().text, MailSpool(tmp_path))

    # The next method is tried immediately; the address must be corrected.
    assert not_delivered(courier, sample_pending(email=address)) == (
        "bad-address!: the user's email address is invalid"
    )
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("una@zürich.ch", "una@xn--zrich-kva.ch"),
        ("jörg@zürich.ch", "jörg@xn--zrich-kva.ch"),
        ("a?b@example.com", "a?b@example.com"),
        (f"{'a' * 64}@{'.'.join(['b' * 63] * 2)}.{'c' * 61}", None),
        # Release 1.0 accepted these.
        (f"{'.'.join(['a' * 30] * 4)}@example.com", None),
        ("una@ab--cd.example", None),
        ("una@xn--a.local", None),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_address_is_one_line_with_the_domain_in_ascii(address: str, sent: str | None, kind: str) -> None:
    content = kinds(mails())[kind](TICKET, sample_pending(email=address)).as_bytes()

    assert f"\r\nTo: {sent or address}\r\n".encode() in content


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tickets@localhost", "tickets@localhost"),
        ("Tickets <tickets@bank.example>", "Tickets <tickets@bank.example>"),
        ('"The bank, tickets" <t@bank.example>', '"The bank, tickets" <t@bank.example>'),
        ("The bank, tickets <t@bank.example>", '"The bank, tickets" <t@bank.example>'),
        ("Zürcher Bank <t@bank.example>", "Zürcher Bank <t@bank.example>"),
        ("<t+reset@bank.example>", "t+reset@bank.example"),
    ],
)
def test_a_sender_is_an_address_that_may_have_a_name(text: str, expected: str) -> None:
    message = as_read(mails(sender=text).text(TICKET, sample_pending()))

    assert message["From"] == expected
    assert len(message["From"].addresses) == 1


@pytest.mark.parametrize(
    "name",
    [
        "The bank, its subsidiaries, its branches, the department of tickets, passwords, certificates, and keys",
        "Zürcher Bank, Abteilung für Zugangsdaten, Schlüssel, Passwörter und Ähnliches, Bahnhofstrasse",
        "W" * 300,
        "a, " * 100 + "b",
    ],
)
def test_a_long_sender_is_one_address_on_short_lines(name: str) -> None:
    domain = f"{'.'.join(['b' * 60] * 3)}.example"
    message = mails(sender=f"{name} <tickets@{domain}>").text(TICKET, sample_pending())

    [address] = as_read(message)["From"].addresses
    assert address.addr_spec == f"tickets@{domain}"
    # Python 3.11 reads blanks between the encoded words of a name; this older reader does not.
    words = email.message_from_bytes(message.as_bytes())["From"].rpartition(" ")[0]
    assert str(make_header(decode_header(words))) == name
    content = message.as_bytes()
    line = content.partition(b"\r\nTo: ")[0]
    assert b"," not in line
    assert all(len(part) <= 76 for part in line.split(b"\r\n")[:-1])
    assert f"\r\nMessage-ID: <{sample_pending().entry.delivery_id}@{domain}>\r\n".encode() in content


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Tickets",
        "tickets@",
        "@bank.example",
        "t@bank.example, eve@example.com",
        "t@bank.example\r\nBcc: eve@example.com",
        "Tickets\r\nBcc: eve@example.com <t@bank.example>",
        "Tickets\x00 <t@bank.example>",
        "=?utf-8?q?a=0d=0ab?= <t@bank.example>",
        "<t@bank.example> <eve@example.com>",
        "A <t@bank.example>; B <eve@example.com>",
        "all: t@bank.example;",
        'A "B" C <t@bank.example>',
        "t..t@bank.example",
        "t@bank..example",
        "tickets@bänk.example",
    ],
)
def test_an_invalid_sender_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be an address such as Tickets <tickets@bank\.example>"):
        parse_sender(text)


def test_all_attempts_at_a_ticket_have_one_id_for_every_method() -> None:
    made = kinds(mails()).values()
    ids = {compose(TICKET, sample_pending())["Message-ID"] for compose in made for _ in range(2)}

    renamed = mails().text(TICKET, sample_pending(name="Una Renamed"))["Message-ID"]
    next_one = mails().text(TICKET, sample_pending(version=8))["Message-ID"]
    assert ids == {renamed}
    assert next_one not in ids


def test_a_plain_text_mail_and_a_letter_are_byte_identical_on_repetition() -> None:
    assert (
        mails().text(TICKET, sample_pending()).as_bytes() == mails().text(TICKET, sample_pending()).as_bytes()
    )
    assert letters().render(TICKET, sample_pending()) == letters().render(TICKET, sample_pending())


def test_an_html_mail_has_a_plain_text_alternative_and_escapes_names() -> None:
    message = as_read(mails().html(TICKET, sample_pending(name='<b>Una</b> & "Söhne"')))

    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    assert "&lt;b&gt;Una&lt;/b&gt; &amp; &#34;Söhne&#34;" in body(message, "html")
    assert "<b>" not in body(message, "html")
    assert '<b>Una</b> & "Söhne"' in body(message)
    for kind in ("plain", "html"):
        assert IN_GROUPS in body(message, kind)


def test_a_ticket_of_any_characters_is_text_in_html() -> None:
    message = as_read(mails().html(ClearTicket("<a&b>'\"{{7*7}}"), sample_pending()))

    assert "&lt;a&amp;b &gt;&#39;&#34;{ {7*7 }}" in body(message, "html")
    assert "    <a&b >'\"{ {7*7 }}" in body(message).splitlines()


def test_a_pdf_mail_has_the_ticket_in_the_letter_only() -> None:
    message = as_read(mails().with_letter(TICKET, sample_pending()))

    [letter] = message.iter_attachments()
    assert (letter.get_content_type(), letter.get_filename()) == ("application/pdf", "ticket.pdf")
    assert IN_GROUPS in text_of(letter.get_content())
    for ticket in (IN_GROUPS, TICKET.reveal()):
        assert ticket not in body(message)
    assert "Your new ticket is in the attached letter." in body(message)


def test_a_pdf_mail_needs_no_postal_address() -> None:
    [letter] = as_read(mails().with_letter(TICKET, sample_pending(postal_address=None))).iter_attachments()

    assert "Una Üser" in text_of(letter.get_content())


@pytest.mark.parametrize("kind", KINDS)
def test_a_sent_mail_is_ascii_with_lines_of_allowed_length(kind: str) -> None:
    long = sample_pending(name="Ünä " * 50, language="fr")
    ticket = ClearTicket("W" * 200)
    content = kinds(mails())[kind](ticket, long).as_bytes()

    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\r" not in content.replace(b"\r\n", b"")


def test_the_language_is_the_users() -> None:
    message = as_read(mails().html(TICKET, sample_pending(language="de-CH")))

    assert message["Subject"] == "Ihr neues Ticket"
    assert "Guten Tag Una Üser" in body(message)
    assert '<html lang="de">' in body(message, "html")


def to_spool(directory: Path) -> MailCourier:
    return MailCourier(mails().text, MailSpool(directory))


def to_printer(directory: Path) -> LetterStore:
    return LetterStore(letters(), directory)


STORES: list[Any] = [
    pytest.param(to_spool, ".eml", "spooled", id="mail"),
    pytest.param(to_printer, ".pdf", "stored", id="letter"),
]
stores = pytest.mark.parametrize(("store", "ending", "answer"), STORES)


@stores
def test_spooled_files_are_private_and_their_names_disclose_nothing(
    tmp_path: Path, store: Callable[[Path], Courier], ending: str, answer: str
) -> None:
    directory = tmp_path / "var" / "out"

    assert deliver(store(directory)) == answer

    [file] = files_in(directory)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert file.name == f"{sample_pending().entry.delivery_id}{ending}"
    assert not [word for word in (*SUBJECT, "una", "example") if word in file.name.lower()]


@stores
def test_a_repeated_ticket_has_the_same_file(
    tmp_path: Path, store: Callable[[Path], Courier], ending: str, answer: str
) -> None:
    deliver(store(tmp_path))
    [file] = tmp_path.glob(f"*{ending}")
    first = (file.read_bytes(), file.stat().st_ino)

    assert deliver(store(tmp_path), pending=sample_pending(name="Una Renamed")) == answer

    assert files_in(tmp_path) == [file]
    assert (file.read_bytes(), file.stat().st_ino) == first


@stores
def test_another_ticket_is_another_file(
    tmp_path: Path, store: Callable[[Path], Courier], ending: str, answer: str
) -> None:
    for version in (7, 8):
        assert deliver(store(tmp_path), pending=sample_pending(version=version)) == answer

    assert len(list(tmp_path.glob(f"*{ending}"))) == 2


@stores
def test_the_draft_of_a_crash_is_overwritten(
    tmp_path: Path, store: Callable[[Path], Courier], ending: str, answer: str
) -> None:
    (tmp_path / f".{sample_pending().entry.delivery_id}{ending}.draft").write_text("half a ma")

    assert deliver(store(tmp_path)) == answer

    [file] = files_in(tmp_path)
    assert file.suffix == ending
    assert file.read_bytes()[:9] != b"half a ma"


@stores
def test_concurrent_readers_find_complete_files_only(
    tmp_path: Path, store: Callable[[Path], Courier], ending: str, answer: str
) -> None:
    couriers = [store(tmp_path) for _ in range(4)]
    seen: set[int] = set()

    def bring(number: int) -> str:
        reported = deliver(couriers[number % 4])
        seen.update(file.stat().st_size for file in tmp_path.glob(f"*{ending}"))
        return reported

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(bring, range(8))) == {answer}

    [file] = files_in(tmp_path)
    assert seen == {file.stat().st_size}


@stores
def test_an_unwritable_directory_is_retried_later(
    tmp_path: Path, store: Callable[[Path], Courier], ending: str, answer: str
) -> None:
    directory = tmp_path / "out"
    courier = store(directory)
    shutil.rmtree(directory)
    directory.write_text("a file by now")

    assert not_delivered(courier) == f"not-written: cannot write to {directory}: File exists"
    directory.unlink()
    assert deliver(courier) == answer
    assert len(list(directory.glob(f"*{ending}"))) == 1


def test_a_spooled_mail_is_the_mail_and_a_stored_letter_the_letter(tmp_path: Path) -> None:
    deliver(to_spool(tmp_path))
    deliver(to_printer(tmp_path))

    [mail], [letter] = tmp_path.glob("*.eml"), tmp_path.glob("*.pdf")
    assert mail.read_bytes() == mails().text(TICKET, sample_pending()).as_bytes()
    assert letter.read_bytes() == letters().render(TICKET, sample_pending())
    for word in (IN_GROUPS, "Una Üser", "Bahnhofstrasse 1", "8001 Zürich"):
        assert word in text_of(letter.read_bytes())


@pytest.mark.parametrize("kind", KINDS)
def test_a_user_without_an_email_address_gets_the_next_method_immediately(tmp_path: Path, kind: str) -> None:
    courier = MailCourier(kinds(mails())[kind], MailSpool(tmp_path))

    assert not_delivered(courier, sample_pending(email=None)) == "no-address!: the user has no email address"
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("address", [None, ()])
def test_a_user_without_a_postal_address_gets_the_next_method_immediately(
    tmp_path: Path, address: tuple[str, ...] | None
) -> None:
    assert not_delivered(to_printer(tmp_path), sample_pending(postal_address=address)) == (
        "no-address!: the user has no postal address"
    )
    assert files_in(tmp_path) == []


def test_a_rendering_error_falls_to_the_next_method_with_a_reason_without_personal_data(
    tmp_path: Path,
) -> None:
    templates = tmp_path / "templates"
    (templates / "_" / "en").mkdir(parents=True)
    (templates / "_" / "en" / "mail.txt").write_text("{{ {}[ticket].missing }}")
    (templates / "_" / "en" / "letter.txt").write_text(
        "Subject\n\n" + "{{ name }}\n\n" * 100 + "{{ ticket }}"
    )
    broken = MailCourier(mails(templates).text, MailSpool(tmp_path / "out"))
    too_long = LetterStore(letters(templates), tmp_path / "out")
    own_letter = LetterStore(letters(), tmp_path / "out")

    assert not_delivered(broken) == (
        "no-template!: cannot render _/en/mail.txt; `tickets templates check` reports the reason"
    )
    assert not_delivered(too_long) == "letter-too-long!: the letter has more than one page"
    assert not_delivered(own_letter, sample_pending(name="王小明")) == (
        "letter-not-printable!: the letter's font lacks U+738B"
    )
    assert files_in(tmp_path / "out") == []


@pytest.mark.parametrize("fault", [OverflowError, RecursionError, UnicodeError, KeyError, AssertionError])
def test_any_fault_of_rendering_is_final_and_named_without_its_message(
    fault: type[Exception], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> Any:
        raise fault(TICKET.reveal())

    monkeypatch.setattr("interface.outbound.mail.templates.format_date", fails)
    monkeypatch.setattr("interface.outbound.mail.mail_composer.render_letter", fails)
    couriers: list[Courier] = [
        MailCourier(compose, MailSpool(tmp_path)) for compose in kinds(mails()).values()
    ]

    for courier in [*couriers, LetterStore(letters(), tmp_path)]:
        assert not_delivered(courier) == (
            f"not-rendered!: the text cannot be rendered ({fault.__name__}); see the log of the service"
        )
    assert fault.__name__ in caplog.text
    assert TICKET.reveal() not in caplog.text
    assert files_in(tmp_path) == []


def test_a_fault_of_writing_a_header_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bytes:
        raise IndexError

    monkeypatch.setattr(EmailMessage, "as_bytes", fails)

    assert not_delivered(MailCourier(mails().text, MailSpool(tmp_path))).startswith("not-rendered!: ")
