"""The letter: one printable A4 page, with the address in the window of the envelope."""

import io
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from hashlib import sha256
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pypdf import PageObject, PdfReader
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth

from interface.outbound.letters.letter import (
    LetterNotPrintable,
    LetterTooLong,
    Window,
    render_letter,
)
from interface.outbound.mail.mail_composer import Letters
from interface.outbound.mail.templates import LANGUAGES, Templates
from tests.support.pending import IN_GROUPS, TICKET, sample_pending

TEXT = "Your new ticket\n\nHello {name},\n\nHere it is:\n\n    {ticket}\n\nKeep it in a safe place.\n"
SENDER = "The bank · P.O. box · 8001 Zürich"
WIDTH, HEIGHT = 210 * mm, 297 * mm
# The area in the window of an envelope, from the left and from above: DIN 5008 form B, and the right of C5 and C6/5.
# A sheet moves in the envelope.
MOVES = 1.5 * mm
SHOWN = {
    Window.LEFT: (20 * mm, 105 * mm, 45 * mm, 90 * mm),
    Window.RIGHT: (112 * mm, 202 * mm, 45 * mm, 90 * mm),
}


TERMS: dict[str, Any] = {"sender": SENDER, "day": "23 November 2026", "language": "en"}


class Line(NamedTuple):
    """A line of a page. top: of its capitals; top and bottom are measured from the top of the page."""

    text: str
    left: float
    right: float
    top: float
    bottom: float
    size: float


def letter(
    *, name: str = "Una Üser", ticket: str = TICKET.reveal(), text: str = TEXT, **changes: Any
) -> bytes:
    reported = text.replace("{name}", name).replace("{ticket}", ticket)
    address = [name, "Bahnhofstrasse 1", "8001 Zürich"]
    return render_letter(reported, **{"address": address, "window": Window.LEFT, **TERMS, **changes})


def page_of(pdf: bytes) -> PageObject:
    [page] = PdfReader(io.BytesIO(pdf)).pages
    return page


def lines_of(pdf: bytes) -> list[Line]:
    found: list[Line] = []

    def see(text: str, _: Any, matrix: list[float], font: Any, size: float) -> None:
        if text.strip("\n"):
            text = text.strip("\n")
            name = "IBM Plex Mono SemiBold" if "Mono" in font["/BaseFont"] else "Noto Sans"
            left, baseline = matrix[4], HEIGHT - matrix[5]
            right = left + stringWidth(text, name, size)
            found.append(Line(text, left, right, baseline - 0.72 * size, baseline + 0.25 * size, size))

    page_of(pdf).extract_text(visitor_text=see)
    return found


def index_of(lines: list[Line], text: str) -> int:
    return next(number for number, line in enumerate(lines) if line.text == text)


def addressed(lines: list[Line]) -> list[Line]:
    """Return the lines in the window: those before the day."""
    return lines[: index_of(lines, "23 November 2026")]


def assert_in_place(lines: list[Line], window: Window = Window.LEFT) -> None:
    """Assert that all lines are on the page, the address is in the window, and lines do not overlap."""
    left, right, top, bottom = SHOWN[window]
    for line in addressed(lines):
        assert left + MOVES <= line.left
        assert line.right <= right - MOVES
        assert top + MOVES <= line.top
        assert line.bottom <= bottom - MOVES
    for line in lines:
        assert 20 * mm <= line.left
        assert line.right <= WIDTH - 10 * mm
        assert line.bottom <= HEIGHT - 15 * mm
    for above, below in pairwise(lines):
        assert above.bottom <= below.top + 0.15 * below.size


def test_it_is_one_page_of_a4() -> None:
    page = page_of(letter())

    assert [round(float(side) / mm, 1) for side in page.mediabox] == [0, 0, 210, 297]
    assert page.rotation == 0
    assert [line.text for line in lines_of(letter())] == [
        SENDER,
        "Una Üser",
        "Bahnhofstrasse 1",
        "8001 Zürich",
        "23 November 2026",
        "Your new ticket",
        "Hello Una Üser,",
        "Here it is:",
        TICKET.reveal(),
        "Keep it in a safe place.",
    ]


@pytest.mark.parametrize("window", Window)
@pytest.mark.parametrize("lines", [1, 3, 6])
def test_the_address_is_where_the_window_shows_it(window: Window, lines: int) -> None:
    address = ["Una Üser", *[f"Line {number} of the address, as it is" for number in range(lines)]]

    found = lines_of(letter(window=window, address=address))

    assert_in_place(found, window)
    assert [line.text for line in addressed(found)] == [SENDER, *address]
    assert {round(line.left / mm) for line in addressed(found)} == {25 if window is Window.LEFT else 118}
    assert min(line.size for line in addressed(found)[1:]) >= 10
    # The text begins below the fold; the day is at the right margin.
    day = found[index_of(found, "23 November 2026")]
    assert (round(day.right / mm), round(day.bottom / mm)) == (190, 99)
    assert found[index_of(found, "Your new ticket")].top > 105 * mm


@pytest.mark.parametrize("window", Window)
@pytest.mark.parametrize("sender", ["S", "Sender " * 12, "W" * 90])
def test_a_sender_of_any_length_is_above_the_address_and_in_the_window(window: Window, sender: str) -> None:
    found = lines_of(letter(window=window, sender=sender))

    assert_in_place(found, window)
    reported = "".join(line.text for line in addressed(found)[:-3]).replace(" ", "")
    assert reported == sender.replace(" ", "")


LONG = [
    "Wolfeschlegelsteinhausenbergerdorff",
    "Bundesamt für Bauwesen und Raumordnung, Abteilung für Angelegenheiten",
    "W" * 60,
    "i" * 60,
    "Ünï " * 15,
]


@settings(max_examples=40)
@example(name="X" * 200, address=["1", "2", "3"], window=Window.LEFT)
@example(name="Wolfeschlegelsteinhausenbergerdorff " * 5, address=["1"], window=Window.RIGHT)
@given(
    name=st.one_of(st.sampled_from(LONG), st.text("aW. -'é", min_size=1, max_size=200)),
    address=st.lists(
        st.one_of(st.sampled_from(LONG), st.text("aW1 ,/ß", min_size=1, max_size=60)), min_size=1, max_size=6
    ),
    window=st.sampled_from(Window),
)
def test_names_and_addresses_of_any_length_fit_or_are_rejected(
    name: str, address: list[str], window: Window
) -> None:
    try:
        pdf = letter(name=name, address=[name, *address], window=window)
    except LetterTooLong:
        assert len("".join([name, *address])) > 150
        return
    found = lines_of(pdf)

    assert_in_place(found, window)
    reported = "".join(line.text for line in addressed(found)).replace(" ", "")
    assert reported == "".join([SENDER, name, *address]).replace(" ", "")
    greeting = "".join(line.text for line in found[index_of(found, "Your new ticket") :]).replace(" ", "")
    assert f"Hello{name},Here".replace(" ", "") in greeting
    assert min(line.size for line in addressed(found)) >= 7


def test_an_address_is_as_large_as_possible_and_legible() -> None:
    def size(lines: int) -> float:
        return addressed(lines_of(letter(address=["A line"] * lines)))[-1].size

    assert [size(lines) for lines in (1, 7, 8, 10)] == [10.5, 10.5, 9, 7.5]
    with pytest.raises(LetterTooLong):
        size(12)


@settings(max_examples=20)
@example(ticket="W" * 200)
@example(ticket="0O1lI|~W_@#%")
@given(ticket=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=200))
def test_a_ticket_of_any_characters_and_length_is_printed_unchanged_in_its_frame(ticket: str) -> None:
    pdf = letter(ticket=ticket)
    found = lines_of(pdf)

    assert_in_place(found)
    first, after = index_of(found, "Here it is:") + 1, index_of(found, "Keep it in a safe place.")
    rows = found[first:after]
    assert "".join(row.text for row in rows) == ticket
    assert {row.size for row in rows} <= {rows[0].size}
    assert 11 <= rows[0].size <= 17
    left, bottom, width, height = frame_of(pdf)
    for row in rows:
        assert left < row.left
        assert row.right < left + width
        assert HEIGHT - bottom - height < row.top
        assert row.bottom < HEIGHT - bottom
        assert abs((row.left + row.right) / 2 - (left + width / 2)) < 0.1


def frame_of(pdf: bytes) -> tuple[float, float, float, float]:
    """Return left, bottom, width and height of the only path with curves."""
    content = page_of(pdf).get_contents()
    assert content is not None
    paths = re.findall(r"n [^n]*? c [^n]*? S", content.get_data().decode("latin-1").replace("\n", " "))
    [path] = paths
    points = re.findall(r"([\d.]+) ([\d.]+) (?:m|l|c)\b", path)
    across, up = [float(x) for x, _ in points], [float(y) for _, y in points]
    return min(across), min(up), max(across) - min(across), max(up) - min(up)


def test_the_ticket_is_centred_in_its_frame() -> None:
    _, bottom, _, height = frame_of(letter())
    found = lines_of(letter())
    ticket = found[index_of(found, TICKET.reveal())]

    capitals = ticket.bottom - 0.25 * ticket.size - 0.57 * ticket.size / 2
    assert abs(HEIGHT - bottom - height / 2 - capitals) < 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_built_in_letter_in_each_language(language: str) -> None:
    letters = Letters(
        Templates(None, language="en", time_zone=ZoneInfo("Europe/Zurich")), SENDER, Window.LEFT
    )
    pdf = letters.render(TICKET, sample_pending(language=language))

    reader: Any = PdfReader(io.BytesIO(pdf))
    [page] = reader.pages
    text = page.extract_text()
    subject, day = {
        "de": ("Ihr neues Ticket", "23. November 2026"),
        "en": ("Your new ticket", "23 November 2026"),
        "fr": ("Votre nouveau ticket", "23 novembre 2026"),
        "it": ("Il suo nuovo ticket", "23 novembre 2026"),
    }[language]
    for line in (subject, day, IN_GROUPS, "Una Üser", "Bahnhofstrasse 1", "8001 Zürich", SENDER):
        assert line in text.splitlines()
    assert reader.trailer["/Root"]["/Lang"] == language
    assert reader.metadata
    assert (reader.metadata.title, reader.metadata.author) == (subject, SENDER)
    lines = lines_of(pdf)
    assert max(line.right for line in lines) <= WIDTH - 20 * mm + 0.1
    assert min(line.left for line in lines) >= 25 * mm - 0.1


def test_a_letter_to_a_user_without_a_name_uses_the_id() -> None:
    letters = Letters(Templates(None, language="en", time_zone=ZoneInfo("UTC")), SENDER, Window.LEFT)

    lines = [line.text for line in lines_of(letters.render(TICKET, sample_pending(name=None)))]

    assert lines[1:4] == ["user-123", "Bahnhofstrasse 1", "8001 Zürich"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (("Firma AG", "Frau Dr. Una Üser", "Weg 1"), ["Firma AG", "Frau Dr. Una Üser", "Weg 1"]),
        (("Üser, Una", "Weg 1"), ["Üser, Una", "Weg 1"]),
        (("c/o Una Üser", "Weg 1"), ["Una Üser", "c/o Una Üser", "Weg 1"]),
        (("Una-Üser-Weg 1", "Bern"), ["Una Üser", "Una-Üser-Weg 1", "Bern"]),
        (("Una Üser Allee 1", "Bern"), ["Una Üser", "Una Üser Allee 1", "Bern"]),
        (("Una Üser", "Weg 1"), ["Una Üser", "Weg 1"]),
        (("UNA  U\u0308SER", "Weg 1"), ["UNA ÜSER", "Weg 1"]),
        (("Frau Una Üser", "Weg 1"), ["Frau Una Üser", "Weg 1"]),
        (("Firma AG", "Una Üser", "Weg 1"), ["Firma AG", "Una Üser", "Weg 1"]),
        (("Nuna Üser", "Weg 1"), ["Una Üser", "Nuna Üser", "Weg 1"]),
        (("Una Üser-Meier", "Weg 1"), ["Una Üser", "Una Üser-Meier", "Weg 1"]),
        (("Firma AG", "c/o Una Üser"), ["Una Üser", "Firma AG", "c/o Una Üser"]),
    ],
)
def test_a_name_that_the_address_contains_is_printed_once(
    address: tuple[str, ...], expected: list[str]
) -> None:
    letters = Letters(Templates(None, language="en", time_zone=ZoneInfo("UTC")), SENDER, Window.LEFT)

    found = addressed(lines_of(letters.render(TICKET, sample_pending(postal_address=address))))

    assert [" ".join(line.text.split()) for line in found[1:]] == expected


@pytest.mark.parametrize(("name", "place"), [("Zürich", "8001 Zürich"), ("Bern", "Bern"), ("*", "Bern")])
def test_a_name_is_printed_above_a_place_that_has_it(name: str, place: str) -> None:
    letters = Letters(Templates(None, language="en", time_zone=ZoneInfo("UTC")), SENDER, Window.LEFT)
    pending = sample_pending(name=name, postal_address=("Weg", place))

    found = addressed(lines_of(letters.render(TICKET, pending)))

    assert [line.text for line in found][1:] == [name, "Weg", place]


@pytest.mark.parametrize(
    "name",
    [
        "Zoë Müller-Weiß",
        "Łukasz Żółć",
        "Đặng Thị Hồng Nguyễn",
        "Ελένη Παπαδοπούλου",
        "Ольга Щербакова",
        "Ğ İ ı ş Ș Ț ő ű Ĳ ŉ Ǿ",  # noqa: RUF001
        "Siân O’Brien – «№ 5» … €",  # noqa: RUF001
    ],
)
def test_names_in_the_scripts_of_europe_are_printed_and_found(name: str) -> None:
    text = page_of(letter(name=name)).extract_text()

    assert name in text.splitlines()
    assert f"Hello {name}," in text.splitlines()


def test_marks_are_composed() -> None:
    assert "Zoë Müller" in page_of(letter(name="Zoe\u0308 Mu\u0308ller")).extract_text()


def test_non_breaking_spaces_do_not_wrap() -> None:
    for count in range(14, 22):
        lines = lines_of(letter(text="Subject\n\n" + "word " * count + "voici\u202f:\u00a010\u00a0000"))

        assert lines[-1].text.replace("\u00a0", " ").endswith("voici\u202f: 10 000")


@pytest.mark.parametrize(
    ("name", "character"),
    [
        ("王小明", "U+738B"),
        ("Una 🎉", "U+1F389"),
        ("محمد", "U+0645"),
        ("משה", "U+05DE"),
        ("สมชาย", "U+0E2A"),
        ("अनिता", "U+093F"),  # the font has it, but it would be misplaced
        ("x\u0332y", "U+0332"),
        ("Una\u2028Üser", "U+2028"),
        ("Una\ufffd", ""),
    ],
)
def test_characters_that_the_font_lacks_are_rejected(name: str, character: str) -> None:
    if not character:
        assert name in page_of(letter(name=name)).extract_text()
        return
    with pytest.raises(LetterNotPrintable) as raised:
        letter(name=name)

    assert str(raised.value) == f"the letter's font lacks {character}"


def test_all_fonts_are_embedded() -> None:
    page: Any = page_of(letter())
    fonts = [font.get_object() for font in page["/Resources"]["/Font"].values()]

    embedded = {font["/BaseFont"] for font in fonts if "/FontFile2" in font.get("/FontDescriptor", {})}
    assert embedded == {"/AAAAAA+NotoSans-Regular", "/AAAAAA+IBMPlexMono-SemiBold"}
    assert {font["/BaseFont"] for font in fonts} == embedded


@pytest.mark.parametrize(
    "text",
    [
        "Subject\n\n" + "A paragraph.\n\n" * 60,
        "Subject\n\n" + "word " * 2000,
        "Subject\n\n" + "A paragraph.\n\n" * 20 + "    {ticket}\n\nEnd.",
        "subject " * 500,
    ],
)
def test_a_text_longer_than_a_page_is_rejected(text: str) -> None:
    with pytest.raises(LetterTooLong, match="the letter has more than one page"):
        letter(text=text)


@pytest.mark.parametrize(
    "text",
    [
        "Subject\n\nHere:\n\n    {ticket}\n\nEnd",
        "\n\nSubject\nHere:\n\n\n\n    {ticket}\n\n\nEnd\n\n\n",
        "Subject\n\nHere:\n  \n    {ticket}  \n \nEnd\n",
        "Subject\n\nHere:\n\n\t{ticket}\n\nEnd",
    ],
)
def test_a_text_may_be_laid_out_in_many_ways(text: str) -> None:
    assert [(line.text, line.size) for line in lines_of(letter(text=text))[5:]] == [
        ("Subject", 13.0),
        ("Here:", 10.5),
        (TICKET.reveal(), 17.0),
        ("End", 10.5),
    ]


def test_several_lines_can_be_framed_in_any_script() -> None:
    lines = lines_of(letter(text="Subject\n\n    Zugang für Una:\n    {ticket}"))

    assert [(line.text, line.size) for line in lines[-2:]] == [
        ("Zugang für Una:", 17.0),
        (TICKET.reveal(), 17.0),
    ]


def test_a_letter_is_byte_identical_in_every_process() -> None:
    terms = {**TERMS, "address": ["Ελένη", "Ольга"], "text": "Zoë\n\n    {ticket}\n\nfür Ελένη"}
    code = (
        f"import hashlib; from interface.outbound.letters.letter import Window, render_letter; terms = {terms!r};"
        "made = render_letter(**{**terms, 'window': Window.LEFT});"
        "print(hashlib.sha256(made).hexdigest())"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert elsewhere.stdout.strip() == sha256(render_letter(**{**terms, "window": Window.LEFT})).hexdigest()


class Held(list[str]):
    """Lines that are read when a test releases them."""

    def __init__(self, *lines: str) -> None:
        super().__init__(lines)
        self.asked, self.given = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[str]:
        self.asked.set()
        assert self.given.wait(30)
        return super().__iter__()


def test_letters_are_rendered_one_at_a_time() -> None:
    """A ReportLab font serves one document at a time: concurrent documents would be broken or mixed."""
    held = Held("Ольга Щербакова", "Street")
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(letter, address=held)
        assert held.asked.wait(30)
        second = threads.submit(letter, name="Zoë Müller")
        overtaken = wait([second], timeout=0.3).done
        held.given.set()

    assert not overtaken
    assert first.result() == letter(address=["Ольга Щербакова", "Street"])
    assert second.result() == letter(name="Zoë Müller")
