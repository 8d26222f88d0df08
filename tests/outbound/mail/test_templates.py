"""The texts of mails and letters: built in for four languages, overridable per client and language, checked, sandboxed."""

import dataclasses
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from application.delivery.outbox import PendingDelivery
from domain.policies.policy import DEFAULT_POLICY
from domain.shared.subject import Subject
from domain.tickets.ticket import ClearTicket
from domain.tickets.typed_ticket import as_minted
from interface.composition.templates import templates as of_settings
from interface.outbound.mail.templates import (
    BUILT_IN,
    KINDS,
    LANGUAGES,
    WITH_TICKET,
    InvalidTemplate,
    Templates,
)
from interface.settings import InvalidSettings, Settings
from tests.support.pending import IN_GROUPS, TICKET, sample_pending

CLEAR = TICKET.reveal()
MAIL = "_/en/mail.txt"


def texts(directory: Path | None = None, language: str = "en", time_zone: str = "Europe/Zurich") -> Templates:
    return Templates(directory, language=language, time_zone=ZoneInfo(time_zone))


def render(
    templates: Templates, kind: str = "mail.txt", pending: PendingDelivery | None = None, **recipient: Any
) -> str:
    ticket = TICKET if kind in WITH_TICKET else None
    return templates.render(kind, ticket, pending or sample_pending(**recipient))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "templates"
    made.mkdir()
    return made


def write(directory: Path, name: str, content: str | bytes) -> None:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_text_is_built_in_and_complete(kind: str, language: str) -> None:
    text = render(texts(), kind, language=language)

    assert "{{" not in text
    assert "{%" not in text
    assert (IN_GROUPS in text) is (kind in WITH_TICKET)
    assert ("Una Üser" in text) is (kind != "subject.txt")
    assert ("28" in text) is (kind != "subject.txt")
    assert text.endswith("\n")
    assert text.isprintable() is False  # its line ends, and …
    assert all(line.replace("\u00a0", " ").isprintable() for line in text.splitlines())
    if kind == "mail.html":
        assert f'<html lang="{language}">' in text
    if kind in ("mail.txt", "letter.txt"):
        assert f"    {IN_GROUPS}" in text.splitlines()


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "It is valid until 28 November 2026 at 10:42 (CET)."),
        ("de", "Es gilt bis zum 28. November 2026, 10:42 Uhr (MEZ)."),
        ("fr", "Il est valable jusqu’au 28 novembre 2026 à 10:42 (CET)."),  # noqa: RUF001
        ("it", "È valido fino al 28 novembre 2026 alle ore 10:42 (CET)."),
    ],
)
def test_a_time_is_formatted_by_language_and_time_zone(language: str, sentence: str) -> None:
    for kind in KINDS:
        assert kind == "subject.txt" or sentence in render(texts(), kind, language=language)


def test_the_time_zone_is_that_of_the_day() -> None:
    in_summer = replace(sample_pending().ticket, valid_to=datetime(2026, 7, 31, 22, 30, tzinfo=UTC))  # type: ignore[type-var]
    pending = sample_pending()
    pending = PendingDelivery(**{**vars(pending), "ticket": in_summer})

    assert "until 1 August 2026 at 00:30 (CEST)." in render(texts(), pending=pending)
    assert "until 31 July 2026 at 22:30 (UTC)." in render(texts(time_zone="UTC"), pending=pending)
    assert "until 31 July 2026 at 23:30 (IST)." in render(texts(time_zone="Europe/Dublin"), pending=pending)


@pytest.mark.parametrize(
    ("time_zone", "language", "shown"),
    [
        ("Asia/Tokyo", "en", "28 November 2026 at 18:42 (JST)"),
        ("America/New_York", "en", "28 November 2026 at 04:42 (EST)"),
        ("America/New_York", "en-US", "November 28, 2026 at 4:42\u202fAM (EST)"),
        ("Europe/London", "EN-us", "November 28, 2026 at 9:42\u202fAM (GMT)"),
        ("Europe/Athens", "de-CH", "28. November 2026, 11:42 Uhr (OEZ)"),
        ("America/Sao_Paulo", "de", "28. November 2026, 06:42 Uhr (GMT-03:00)"),
        ("Europe/Zurich", "xx-Latn-001", "28 November 2026 at 10:42 (CET)"),
        ("UTC", "fr", "28 novembre 2026 à 09:42 (UTC)"),
        ("Mars/Olympus", "it", "28 novembre 2026 alle ore 10:42 (CET)"),
        (None, "it", "28 novembre 2026 alle ore 10:42 (CET)"),
    ],
)
def test_a_time_is_in_the_time_zone_of_the_user(time_zone: str | None, language: str, shown: str) -> None:
    assert f" {shown}." in render(texts(), time_zone=time_zone, language=language)


def test_the_day_of_a_letter_is_that_in_the_time_zone_of_the_user() -> None:
    late = dataclasses.replace(
        sample_pending(time_zone="Asia/Tokyo"),
        entry=replace(sample_pending().entry, minted=datetime(2026, 7, 31, 20, 30, tzinfo=UTC)),
    )

    assert texts().day_of(late, "fr") == "1 août 2026"
    assert texts().day_of(dataclasses.replace(late, recipient=None), "fr") == "31 juillet 2026"


def test_a_user_without_a_name_is_addressed_by_id() -> None:
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
def test_a_text_is_in_the_closest_language_of_the_user_or_the_default_one(
    language: str | None, default: str, expected: str
) -> None:
    assert render(texts(language=default), language=language).startswith(expected)


def test_a_missing_language_is_reported() -> None:
    with pytest.raises(InvalidTemplate, match=r"no template mail\.txt for this client and language"):
        render(texts(language="rm"), language="sv")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], "built in de"),
        (["_/de/mail.txt"], "_/de/mail.txt"),
        (["_/de/mail.txt", "client-123/de/mail.txt"], "client-123/de/mail.txt"),
        # The closest language has priority over the closest client.
        (["_/de-CH/mail.txt", "client-123/de/mail.txt"], "_/de-CH/mail.txt"),
        (["_/de-ch/mail.txt"], "_/de-ch/mail.txt"),
        (["client-123/en/mail.txt"], "built in de"),
        (["other/de/mail.txt", "client-123/de/letter.txt", "_/fr/mail.txt"], "built in de"),
    ],
)
def test_custom_texts_override_built_in_ones_and_those_of_a_client_override_general_ones(
    directory: Path, files: list[str], expected: str
) -> None:
    for name in files:
        write(directory, name, f"{name} {{{{ ticket }}}}")

    text = render(texts(directory), language="de-CH")

    assert text.replace("Guten Tag Una Üser", "built in de").startswith(expected)


def config_map(directory: Path) -> None:
    """As Kubernetes mounts one."""
    write(directory, "..v1/client-123/en/mail.txt", "own {{ ticket }}")
    (directory / "..data").symlink_to("..v1")
    (directory / "client-123").symlink_to("..data/client-123")


def test_the_texts_of_a_config_map_are_used_checked_and_updated(directory: Path) -> None:
    config_map(directory)
    templates = texts(directory)

    assert render(templates) == f"own {CLEAR}"
    assert [name for name in templates.names() if not name.startswith("_/")] == ["client-123/en/mail.txt"]
    assert templates.check() == []

    write(directory, "..v2/client-123/en/mail.txt", "{{ oops }}")
    (directory / "..draft").symlink_to("..v2")
    (directory / "..draft").rename(directory / "..data")
    assert texts(directory).check() == [
        "client-123/en/mail.txt, line 1: unknown placeholder 'oops'; expected one of ticket, ticket_in_groups, name, user, client, valid_until"
    ]


def test_a_linked_text_inside_the_directory_is_used(directory: Path) -> None:
    write(directory, "_/en/mail.txt", "own {{ ticket }}")
    (directory / "_" / "rm").symlink_to(directory / "_" / "en")
    (directory / "client-123" / "fr").mkdir(parents=True)
    (directory / "client-123" / "fr" / "mail.txt").symlink_to("../../_/en/mail.txt")
    link = directory.with_name("linked")
    link.symlink_to(directory)

    for language in ("en", "rm", "fr"):
        assert render(texts(link), language=language) == f"own {CLEAR}"


@pytest.mark.parametrize(
    ("name", "target", "fault"),
    [
        ("_/en/mail.txt", "../../../outside.txt", "_/en/mail.txt: the link leaves the directory"),
        ("_/en", "../../other", "_/en: the link leaves the directory"),
        ("client-123", "/etc", "client-123: the link leaves the directory"),
        ("_/en/mail.txt", "none.txt", "_/en/mail.txt: the target of the link does not exist"),
        ("_/en/mail.txt", "mail.txt", "_/en/mail.txt: the target of the link does not exist"),
        ("_/en", "..", "_/en: the link leads to a directory that contains it"),
        ("_/en", "../../templates", "_/en: the link leads to a directory that contains it"),
    ],
)
def test_any_other_link_is_refused(
    directory: Path, tmp_path: Path, name: str, target: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "outside.txt", "outside {{ ticket }}")
    write(tmp_path, "other/mail.txt", "outside {{ ticket }}")
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    (directory / name).symlink_to(target)

    with pytest.raises(InvalidTemplate, match=f"^{fault}"):
        render(texts(directory))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidSettings, match=f"^TICKETS_TEMPLATE_DIR {directory}: {fault}"):
        of_settings(Settings(template_dir=directory))


def test_a_link_that_leaves_the_directory_after_the_start_is_not_read(
    directory: Path, tmp_path: Path
) -> None:
    write(tmp_path, "outside.txt", "outside {{ ticket }}")
    write(directory, MAIL, "own {{ ticket }}")
    templates = texts(directory)
    assert "own" in render(templates)

    (directory / MAIL).unlink()
    (directory / MAIL).symlink_to(tmp_path / "outside.txt")
    os.utime(tmp_path / "outside.txt", (1, 1))
    with pytest.raises(InvalidTemplate):
        render(templates)


def test_each_text_is_looked_up_on_its_own(directory: Path) -> None:
    write(directory, "client-123/rm/mail.txt", "Bun di {{ name }}: {{ ticket }}")

    assert render(texts(directory), language="rm") == f"Bun di Una Üser: {CLEAR}"
    assert render(texts(directory), "subject.txt", language="rm") == "Your new ticket\n"


@pytest.mark.parametrize("client", ["a/b", "..", ".", "../other", "ä ö", "_", "%2e%2e", "a\\b", "x" * 50])
def test_a_client_with_any_name_has_a_separate_directory(
    directory: Path, tmp_path: Path, client: str
) -> None:
    for outside in ("en/mail.txt", "other/en/mail.txt"):
        write(tmp_path, outside, "outside {{ ticket }}")
    write(directory, "other/en/mail.txt", "another's {{ ticket }}")
    write(directory, "en/mail.txt", "one too high {{ ticket }}")

    assert render(texts(directory), pending=sample_pending(Subject(client, "u"))).startswith(
        "Hello Una Üser,"
    )


def test_a_clients_name_is_written_as_in_a_url(directory: Path) -> None:
    write(directory, "a%2Fb/en/mail.txt", "own {{ ticket }} {{ client }}")

    assert render(texts(directory), pending=sample_pending(Subject("a/b", "u"))) == f"own {CLEAR} a/b"


def test_html_is_escaped_and_plain_text_is_not(directory: Path) -> None:
    for kind in ("mail.html", "mail.txt", "letter.txt", "subject.txt"):
        write(directory, f"_/en/{kind}", "{{ name }} {{ user }}{% if false %}{{ client }}{% endif %}")
    pending = sample_pending(Subject("c", "<u>"), name="\"<b>'&{{ 7*7 }}")

    assert render(texts(directory), "mail.html", pending) == (
        "&#34;&lt;b&gt;&#39;&amp;{{ 7*7 }} &lt;u&gt;"  # and a name is not a template
    )
    for kind in ("mail.txt", "letter.txt", "subject.txt"):
        assert render(texts(directory), kind, pending) == "\"<b>'&{{ 7*7 }} <u>"


def test_all_built_in_texts_are_checked_and_valid() -> None:
    assert texts().check() == []
    assert texts().names() == sorted(f"_/{language}/{kind}" for language in LANGUAGES for kind in KINDS)
    built_in = {path.relative_to(BUILT_IN).as_posix() for path in BUILT_IN.rglob("*.*")}
    assert {f"_/{name}" for name in built_in} == set(texts().names())


def test_valid_custom_texts_are_checked_with_the_built_in_ones(directory: Path) -> None:
    write(directory, "client-123/rm-CH/mail.txt", "{% set it = ticket %}{{ it }}{# a note #}")
    write(directory, "_/de/subject.txt", "Ticket für {{ user }} bei {{ client }}")

    assert texts(directory).check() == []
    assert len(texts(directory).names()) == 21


PLACEHOLDERS = "expected one of ticket, ticket_in_groups, name, user, client, valid_until"


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        (MAIL, "{{ ticket }}\n{{ nme }}", f", line 2: unknown placeholder 'nme'; {PLACEHOLDERS}"),
        (
            MAIL,
            "{{ ticket }}\n\n{% if false %}{{ nme }}{% endif %}",
            f", line 3: unknown placeholder 'nme'; {PLACEHOLDERS}",
        ),
        (MAIL, "{{ ticket }}\r\n\r\n{{ nme }}", f", line 3: unknown placeholder 'nme'; {PLACEHOLDERS}"),
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
        (MAIL, "Hello {{ name }}", ": the ticket is missing"),
        (MAIL, "{{ ticket | upper }}", ": the ticket is missing"),
        (MAIL, "", ": the ticket is missing"),
        (MAIL, b"\xff{{ ticket }}", ": UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff"),
        ("_/en/mail.html", "<p>{{ name }}</p>", ": the ticket is missing"),
        ("client-123/de/letter.txt", "Brief", ": the ticket is missing"),
        ("_/fr/attached.txt", "{{ ticket }}", ": must not contain the ticket"),
        ("_/fr/attached.txt", "{{ ticket_in_groups }}", ": must not contain the ticket"),
        ("_/fr/subject.txt", "Ticket {{ ticket }}", ": must not contain the ticket"),
        ("_/it/subject.txt", "one\ntwo", ": must be one line of at most 200 characters"),
        ("_/it/subject.txt", "", ": must be one line of at most 200 characters"),
        ("_/it/subject.txt", "x" * 201, ": must be one line of at most 200 characters"),
        (
            "README.md",
            "read me",
            ": must be named <client>/<language>/<kind>, with one of the kinds subject.txt,",
        ),
        (
            "_/en/mial.txt",
            "{{ ticket }}",
            ": must be named <client>/<language>/<kind>, with one of the kinds",
        ),
        ("en/mail.txt", "{{ ticket }}", ": must be named <client>/<language>/<kind>, with one of the kinds"),
        (
            "a/b/en/mail.txt",
            "{{ ticket }}",
            ": must be named <client>/<language>/<kind>, with one of the kinds",
        ),
    ],
)
def test_a_fault_is_reported_with_file_and_line(
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
def test_a_template_reaches_only_its_texts(directory: Path, tmp_path: Path, source: str) -> None:
    (tmp_path / "outside.txt").write_text("from outside")
    write(directory, "_/en/mail.txt", "{{ ticket }}" + source)

    assert len(texts(directory).check()) == 1
    with pytest.raises(InvalidTemplate, match=r"cannot render _/en/mail\.txt"):
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
def test_the_error_of_a_failing_template_does_not_contain_the_ticket(directory: Path, source: str) -> None:
    write(directory, "_/en/mail.txt", source)

    with pytest.raises(InvalidTemplate) as raised:
        render(texts(directory))

    shown = raised.value
    assert CLEAR not in str(shown)
    assert shown.__cause__ is None
    assert shown.__suppress_context__
    assert str(shown) == "cannot render _/en/mail.txt; `tickets templates check` reports the reason"


def test_a_text_without_a_ticket_cannot_have_one(directory: Path) -> None:
    write(directory, "_/en/attached.txt", "{{ ticket }}")

    with pytest.raises(InvalidTemplate):
        render(texts(directory), "attached.txt")


def test_a_ticket_is_rendered_unchanged() -> None:
    text = texts().render("mail.txt", ClearTicket("{{a}}<%\\n&$"), sample_pending(group_size=-1))

    assert "    {{a}}<%\\n&$" in text.splitlines()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (4, IN_GROUPS),
        (1, " ".join(CLEAR)),
        (5, "k7mWq 2xHvT 9pRbN 4cYdJ 8sLf"),
        (24, CLEAR),
        (200, CLEAR),
        (-1, CLEAR),
    ],
)
def test_a_ticket_is_printed_in_groups_that_verify_as_the_ticket(size: int, expected: str) -> None:
    for kind in WITH_TICKET:
        assert expected in render(texts(), kind, sample_pending(group_size=size))
    assert as_minted(ClearTicket(expected), DEFAULT_POLICY).reveal() == CLEAR


def test_a_custom_text_chooses_between_the_ticket_and_its_groups(directory: Path) -> None:
    write(directory, MAIL, "{{ ticket }} {{ ticket_in_groups }}")

    assert render(texts(directory)) == f"{CLEAR} {IN_GROUPS}"


@pytest.mark.parametrize(
    ("time_zone", "end", "shown"),
    [
        ("Europe/Zurich", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "31 December 9999 at 23:59 (UTC)"),
        ("America/New_York", datetime(1, 1, 1, tzinfo=UTC), "1 January 1 at 00:00 (UTC)"),
    ],
)
def test_a_date_that_only_utc_can_show_is_shown_in_utc(time_zone: str, end: datetime, shown: str) -> None:
    pending = sample_pending()
    assert pending.ticket
    pending = dataclasses.replace(pending, ticket=replace(pending.ticket, valid_to=end))

    assert shown in render(texts(time_zone=time_zone), pending=pending)
