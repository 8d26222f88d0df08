"""The texts of mails and letters: built in in four languages, replaced per client and language, checked and confined."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from application.delivery.outbox import PendingDelivery
from domain.shared.subject import Subject
from domain.tickets.ticket import ClearTicket
from interface.outbound.mail.templates import (
    BUILT_IN,
    KINDS,
    LANGUAGES,
    WITH_TICKET,
    InvalidTemplate,
    Templates,
)
from tests.support.waiting import TICKET, waiting

CLEAR = TICKET.reveal()
MAIL = "_/en/mail.txt"


def texts(directory: Path | None = None, language: str = "en", time_zone: str = "Europe/Zurich") -> Templates:
    return Templates(directory, language=language, time_zone=ZoneInfo(time_zone))


def render(
    templates: Templates, kind: str = "mail.txt", waits: PendingDelivery | None = None, **recipient: Any
) -> str:
    ticket = TICKET if kind in WITH_TICKET else None
    return templates.render(kind, ticket, waits or waiting(**recipient))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "templates"


def write(directory: Path, name: str, content: str | bytes) -> None:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_text_is_built_in_and_whole(kind: str, language: str) -> None:
    text = render(texts(), kind, language=language)

    assert "{" not in text
    assert (CLEAR in text) is (kind in WITH_TICKET)
    assert ("Una Üser" in text) is (kind != "subject.txt")
    assert ("28" in text) is (kind != "subject.txt")
    assert text.endswith("\n")
    assert text.isprintable() is False  # its line ends, and …
    assert all(line.isprintable() for line in text.splitlines())
    if kind == "mail.html":
        assert f'<html lang="{language}">' in text
    if kind in ("mail.txt", "letter.txt"):
        assert f"    {CLEAR}" in text.splitlines()


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "It is valid until 28 November 2026, 10:42 CET."),
        ("de", "Es gilt bis zum 28. November 2026, 10:42 CET."),
        ("fr", "Il est valable jusqu’au 28 novembre 2026, 10:42 CET."),  # noqa: RUF001
        ("it", "È valido fino al 28 novembre 2026, 10:42 CET."),
    ],
)
def test_a_moment_is_written_as_the_language_writes_it_in_the_time_zone_that_is_set(
    language: str, sentence: str
) -> None:
    for kind in KINDS:
        assert kind == "subject.txt" or sentence in render(texts(), kind, language=language)


def test_the_time_zone_is_that_of_the_day() -> None:
    in_summer = replace(waiting().ticket, valid_to=datetime(2026, 7, 31, 22, 30, tzinfo=UTC))  # type: ignore[type-var]
    waits = waiting()
    waits = PendingDelivery(**{**vars(waits), "ticket": in_summer})

    assert "until 1 August 2026, 00:30 CEST." in render(texts(), waits=waits)
    assert "until 31 July 2026, 22:30 UTC." in render(texts(time_zone="UTC"), waits=waits)
    assert texts().day_of(datetime(2026, 7, 31, 22, 30, tzinfo=UTC), "fr") == "1 août 2026"


def test_who_has_no_name_is_called_by_the_id() -> None:
    assert "Hello user-123,\n" in render(texts(), name=None)


@pytest.mark.parametrize(
    ("language", "default", "expected"),
    [
        ("de", "en", "Guten Tag"),
        ("DE", "en", "Guten Tag"),
        ("de-CH", "en", "Guten Tag"),
        ("de-Latn-CH-1996", "en", "Guten Tag"),
        ("FR-ch", "en", "Bonjour"),
        ("it", "de", "Buongiorno"),
        (None, "fr", "Bonjour"),
        (None, "fr-CH", "Bonjour"),
        ("rm", "it", "Buongiorno"),
        ("den", "en", "Hello"),
    ],
)
def test_a_text_is_in_the_users_language_as_nearly_as_there_is_one_or_else_in_that_which_is_set(
    language: str | None, default: str, expected: str
) -> None:
    assert render(texts(language=default), language=language).startswith(expected)


def test_a_language_that_nobody_wrote_in_is_said() -> None:
    with pytest.raises(InvalidTemplate, match=r"there is no template mail\.txt for this client and language"):
        render(texts(language="rm"), language="sv")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], "built in de"),
        (["_/de/mail.txt"], "_/de/mail.txt"),
        (["_/de/mail.txt", "client-123/de/mail.txt"], "client-123/de/mail.txt"),
        # What is nearer to the user's language comes first, then what is nearer to the client.
        (["_/de-CH/mail.txt", "client-123/de/mail.txt"], "_/de-CH/mail.txt"),
        (["_/de-ch/mail.txt"], "_/de-ch/mail.txt"),
        (["client-123/en/mail.txt"], "built in de"),
        (["other/de/mail.txt", "client-123/de/letter.txt", "_/fr/mail.txt"], "built in de"),
    ],
)
def test_own_texts_come_before_the_built_in_ones_and_a_clients_before_those_of_all(
    directory: Path, files: list[str], expected: str
) -> None:
    for name in files:
        write(directory, name, f"{name} {{{{ ticket }}}}")

    text = render(texts(directory), language="de-CH")

    assert text.replace("Guten Tag Una Üser", "built in de").startswith(expected)


def test_each_text_is_looked_for_alone(directory: Path) -> None:
    write(directory, "client-123/rm/mail.txt", "Bun di {{ name }}: {{ ticket }}")

    assert render(texts(directory), language="rm") == f"Bun di Una Üser: {CLEAR}"
    assert render(texts(directory), "subject.txt", language="rm") == "Your new ticket\n"


@pytest.mark.parametrize("client", ["a/b", "..", ".", "../other", "ä ö", "_", "%2e%2e", "a\\b", "x" * 50])
def test_a_client_of_whatever_name_has_its_own_directory_and_no_other(
    directory: Path, tmp_path: Path, client: str
) -> None:
    for outside in ("en/mail.txt", "other/en/mail.txt"):
        write(tmp_path, outside, "outside {{ ticket }}")
    write(directory, "other/en/mail.txt", "another's {{ ticket }}")
    write(directory, "en/mail.txt", "one too high {{ ticket }}")

    assert render(texts(directory), waits=waiting(Subject(client, "u"))).startswith("Hello Una Üser,")


def test_a_clients_name_is_written_as_in_a_url(directory: Path) -> None:
    write(directory, "a%2Fb/en/mail.txt", "own {{ ticket }} {{ client }}")

    assert render(texts(directory), waits=waiting(Subject("a/b", "u"))) == f"own {CLEAR} a/b"


def test_html_is_escaped_and_plain_text_is_not(directory: Path) -> None:
    for kind in ("mail.html", "mail.txt", "letter.txt", "subject.txt"):
        write(directory, f"_/en/{kind}", "{{ name }} {{ user }}{% if false %}{{ client }}{% endif %}")
    waits = waiting(Subject("c", "<u>"), name="\"<b>'&{{ 7*7 }}")

    assert render(texts(directory), "mail.html", waits) == (
        "&#34;&lt;b&gt;&#39;&amp;{{ 7*7 }} &lt;u&gt;"  # and what stands in a name is no template
    )
    for kind in ("mail.txt", "letter.txt", "subject.txt"):
        assert render(texts(directory), kind, waits) == "\"<b>'&{{ 7*7 }} <u>"


def test_the_built_in_texts_are_all_good_and_all_are_checked() -> None:
    assert texts().check() == []
    assert texts().names() == sorted(f"_/{language}/{kind}" for language in LANGUAGES for kind in KINDS)
    built_in = {path.relative_to(BUILT_IN).as_posix() for path in BUILT_IN.rglob("*.*")}
    assert {f"_/{name}" for name in built_in} == set(texts().names())


def test_own_good_texts_are_checked_with_the_built_in_ones(directory: Path) -> None:
    write(directory, "client-123/rm-CH/mail.txt", "{% set it = ticket %}{{ it }}{# a note #}")
    write(directory, "_/de/subject.txt", "Ticket für {{ user }} bei {{ client }}")

    assert texts(directory).check() == []
    assert len(texts(directory).names()) == 21


PLACEHOLDERS = "there are ticket, name, user, client, valid_until"


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        (MAIL, "{{ ticket }}\n{{ nme }}", f", line 2: there is no placeholder 'nme'; {PLACEHOLDERS}"),
        (
            MAIL,
            "{{ ticket }}\n\n{% if false %}{{ nme }}{% endif %}",
            f", line 3: there is no placeholder 'nme'; {PLACEHOLDERS}",
        ),
        (MAIL, "{{ ticket }}\r\n\r\n{{ nme }}", f", line 3: there is no placeholder 'nme'; {PLACEHOLDERS}"),
        (
            MAIL,
            "Hello {{ ticket\nagain",
            ", line 2: expected token 'end of print statement', got 'again'",
        ),
        (MAIL, "{% if name %}{{ ticket }}", ", line 1: Unexpected end of template."),
        (MAIL, "\n{{ ticket | loud }}", ", line 2: No filter named 'loud'."),
        (MAIL, "{{ ticket }}\n{{ name.first }}", ", line 2: UndefinedError: 'str object' has no attribute"),
        (MAIL, "{{ ticket }}{{ 1 / 0 }}", ", line 1: ZeroDivisionError: division by zero"),
        (MAIL, "{{ ticket }}{{ ticket() }}", ", line 1: TypeError: 'str' object is not callable"),
        (MAIL, "{% include '_/en/mail.txt' %}", ", line 1: RecursionError"),
        (MAIL, "Hello {{ name }}", ": the ticket is not in it"),
        (MAIL, "{{ ticket | upper }}", ": the ticket is not in it"),
        (MAIL, "", ": the ticket is not in it"),
        (MAIL, b"\xff{{ ticket }}", ": UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff"),
        ("_/en/mail.html", "<p>{{ name }}</p>", ": the ticket is not in it"),
        ("client-123/de/letter.txt", "Brief", ": the ticket is not in it"),
        ("_/fr/attached.txt", "{{ ticket }}", ": the ticket does not belong there"),
        ("_/fr/subject.txt", "Ticket {{ ticket }}", ": the ticket does not belong there"),
        ("_/it/subject.txt", "one\ntwo", ": a subject is one line of at most 200 characters"),
        ("_/it/subject.txt", "", ": a subject is one line of at most 200 characters"),
        ("_/it/subject.txt", "x" * 201, ": a subject is one line of at most 200 characters"),
        (
            "README.md",
            "read me",
            ": a template is <client>/<language>/<kind>, and a kind one of subject.txt,",
        ),
        ("_/en/mial.txt", "{{ ticket }}", ": a template is <client>/<language>/<kind>, and a kind one of"),
        ("en/mail.txt", "{{ ticket }}", ": a template is <client>/<language>/<kind>, and a kind one of"),
        ("a/b/en/mail.txt", "{{ ticket }}", ": a template is <client>/<language>/<kind>, and a kind one of"),
    ],
)
def test_a_fault_is_found_before_a_user_meets_it_and_named_with_file_and_line(
    directory: Path, name: str, content: str | bytes, fault: str
) -> None:
    write(directory, name, content)

    [found] = texts(directory).check()

    assert found.startswith(f"{name}{fault}")
    assert "\n" not in found


def test_every_fault_is_found(directory: Path) -> None:
    write(directory, "_/en/mail.txt", "{{ a }}\n{{ b }}\n{{ a }}")
    write(directory, "_/de/subject.txt", "")

    assert [fault.split(":")[0] for fault in texts(directory).check()] == [
        "_/de/subject.txt",
        "_/en/mail.txt, line 1",
        "_/en/mail.txt, line 2",
    ]


CONFINED = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ '{0.__class__}'.format(name) }}",
    "{{ self._TemplateReference__context.environment }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ namespace.__init__.__globals__ }}",
    "{% set x = [] %}{{ x.append(1) }}",
    "{% include '/etc/hostname' %}",
    "{% include '../../outside.txt' %}",
    "{% include '_/../../outside.txt' %}",
    "{% import '../outside.txt' as outside %}",
    "{% extends '../outside.txt' %}",
    "{% for number in range(1000000) %}.{% endfor %}",
    "{{ open('/etc/hostname') }}",
    "{{ import('os') }}",
]


@pytest.mark.parametrize("source", CONFINED)
def test_a_template_reaches_nothing_but_its_texts(directory: Path, tmp_path: Path, source: str) -> None:
    (tmp_path / "outside.txt").write_text("from outside")
    write(directory, "_/en/mail.txt", "{{ ticket }}" + source)

    assert len(texts(directory).check()) == 1
    with pytest.raises(InvalidTemplate, match=r"_/en/mail\.txt cannot be rendered"):
        render(texts(directory))


@pytest.mark.parametrize(
    "source",
    [
        "{{ {}[ticket].missing }}",
        "{{ name[ticket].missing }}",
        "{{ ticket.missing.missing }}",
        "{{ unknown }}",
        "{{ ticket / 2 }}",
        "{% include ticket %}",
        "{{ [].index(ticket) }}",
    ],
)
def test_what_is_said_of_a_template_that_fails_does_not_hold_the_ticket(directory: Path, source: str) -> None:
    write(directory, "_/en/mail.txt", source)

    with pytest.raises(InvalidTemplate) as raised:
        render(texts(directory))

    told = raised.value
    assert CLEAR not in str(told)
    assert told.__cause__ is None
    assert told.__suppress_context__
    assert str(told) == "_/en/mail.txt cannot be rendered; tickets templates check says why"


def test_a_text_without_a_ticket_cannot_have_one(directory: Path) -> None:
    write(directory, "_/en/attached.txt", "{{ ticket }}")

    with pytest.raises(InvalidTemplate):
        render(texts(directory), "attached.txt")


def test_a_ticket_is_written_as_it_is() -> None:
    text = texts().render("mail.txt", ClearTicket("{{a}}<%\\n&$"), waiting())

    assert "    {{a}}<%\\n&$" in text.splitlines()
