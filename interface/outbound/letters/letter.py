"""The letter: a ticket on one page of A4, its address where a window envelope shows it."""

import io
import re
import threading
import unicodedata
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple

import fontpkg_noto_sans
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import registerFont, stringWidth
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

_FONT, _TICKET_FONT = "Noto Sans", "Courier-Bold"
_SIZE, _SMALL, _SUBJECT_SIZE, _LEADING = 10.5, 7.5, 13, 15
_TICKET_SIZE, _LEAST_TICKET_SIZE = 17, 11
_ADDRESS_SIZES = (_SIZE, 10, 9.5, 9, 8.5, 8, 7.5, 7)
_LEFT, _RIGHT, _BOTTOM = 25 * mm, 20 * mm, 20 * mm
_DAY_TOP, _TEXT_TOP = 98 * mm, 105 * mm
_WIDTH = A4[0] - _LEFT - _RIGHT
_PADDING = 4 * mm
# A font of ReportLab's keeps what the document at hand needs, so there can be one at a time.
_ONE_AT_A_TIME = threading.Lock()


class Window(StrEnum):
    """On which side the envelope's window is: left as DIN 5008 has it, right as is usual in Switzerland (SN 010130)."""

    LEFT = "left"
    RIGHT = "right"


class _Field(NamedTuple):
    """Where sender and address stand, from the left and the upper edge of the page."""

    left: float
    top: float
    width: float
    height: float


# What the windows show, from left and from above: 20 to 105 and 45 to 90 mm (form B); 112 to 202 and 45 to 90 mm. A sheet
# moves a little in its envelope, so this is less.
_FIELDS = {
    Window.LEFT: _Field(25 * mm, 48 * mm, 78 * mm, 40 * mm),
    Window.RIGHT: _Field(118 * mm, 50 * mm, 78 * mm, 38 * mm),
}


class InvalidLetter(Exception):
    """A letter that cannot be printed; the message says why, and nothing of whom it is for."""


class LetterTooLong(InvalidLetter):
    """A text that does not fit on the page, or an address in the window."""


class LetterNotPrintable(InvalidLetter):
    """A character that the font has not."""


def render_letter(
    text: str, *, address: Sequence[str], sender: str, day: str, window: Window, language: str
) -> bytes:
    """Return the letter as a PDF. Raises LetterTooLong, LetterNotPrintable.

    day: as it is written. text: its first line is the subject; paragraphs are separated by empty lines, and what is indented by four blanks,
    the ticket, is set apart. The same arguments give the same bytes.
    """
    with _ONE_AT_A_TIME:
        subject, _, body = _printable(text.expandtabs(4)).strip("\n").partition("\n")
        buffer = io.BytesIO()
        font: Any = (
            _font().fontName
        )  # a str, whatever the stubs say; it replaces Helvetica, which is not embedded
        page = Canvas(buffer, pagesize=A4, invariant=1, lang=language, initialFontName=font)
        page.setTitle(subject)
        page.setAuthor(sender)
        _write_address(page, [_printable(line) for line in address], _printable(sender), _FIELDS[window])
        page.drawRightString(A4[0] - _RIGHT, A4[1] - _DAY_TOP, _printable(day))
        top = _write(page, subject, _TEXT_TOP, _SUBJECT_SIZE) + _LEADING / 2
        for paragraph in re.split(r"\n(?: *\n)+", body.strip("\n")):
            top = _write_paragraph(page, paragraph, top + _LEADING / 2)
        page.showPage()
        page.save()
        return buffer.getvalue()


def _write_address(page: Canvas, address: Sequence[str], sender: str, field: _Field) -> None:
    top, end = field.top, field.top + field.height
    page.setFont(_FONT, _SMALL)
    sender_lines = _wrapped(sender, _FONT, _SMALL, field.width)
    for line in sender_lines:
        top += _SMALL * 1.25
        page.drawString(field.left, A4[1] - top, line)
    top += 3.5
    page.setLineWidth(0.3)
    widest = max(stringWidth(line, _FONT, _SMALL) for line in sender_lines)
    page.line(field.left, A4[1] - top, field.left + widest, A4[1] - top)
    for size in _ADDRESS_SIZES:
        lines = [part for line in address for part in _wrapped(line, _FONT, size, field.width)]
        leading = size * 1.29
        if top + (len(lines) + 0.25) * leading <= end:
            break
    else:
        raise LetterTooLong("the name and address do not fit in the window")
    page.setFont(_FONT, size)
    for number, line in enumerate(lines, 1):
        page.drawString(field.left, A4[1] - top - number * leading, line)
    page.setFont(_FONT, _SIZE)


def _write_paragraph(page: Canvas, paragraph: str, top: float) -> float:
    rows = [row.strip() for row in paragraph.split("\n")]
    if not paragraph.startswith("    "):
        return _write(page, " ".join(rows), top, _SIZE)
    return _write_apart(page, rows, top)


def _write(page: Canvas, text: str, top: float, size: float) -> float:
    page.setFont(_FONT, size)
    for line in _wrapped(text, _FONT, size, _WIDTH):
        top += _LEADING * size / _SIZE
        _check_room(top)
        page.drawString(_LEFT, A4[1] - top, line)
    return top


def _write_apart(page: Canvas, rows: Sequence[str], top: float) -> float:
    """Write into a frame, as large as it fits."""
    font = _TICKET_FONT if all(map(str.isascii, rows)) else _FONT
    room = _WIDTH - 2 * _PADDING
    widest = max(stringWidth(row, font, 1) for row in rows)
    size = max(_LEAST_TICKET_SIZE, min(_TICKET_SIZE, room / max(1, widest)))
    lines = [line for row in rows for line in _wrapped(row, font, size, room)]
    leading = size * 1.35
    top += _LEADING / 2
    height = len(lines) * leading + 2 * _PADDING
    _check_room(top + height)
    page.setLineWidth(0.8)
    page.roundRect(_LEFT, A4[1] - top - height, _WIDTH, height, 2 * mm)
    page.setFont(font, size)
    for number, line in enumerate(lines):
        baseline = top + _PADDING + (number + 0.5) * leading + 0.29 * size
        page.drawCentredString(_LEFT + _WIDTH / 2, A4[1] - baseline, line)
    return top + height + _LEADING / 2


def _check_room(top: float) -> None:
    if top > A4[1] - _BOTTOM:
        raise LetterTooLong("the letter has more than one page")


def _wrapped(text: str, font: str, size: float, width: float) -> list[str]:
    """Break a text at its blanks, and a word that is too long wherever it must be.

    ReportLab's own way lets such a word run off the page, and breaks at blanks that shall not break.
    """

    def fits(line: str) -> bool:
        return bool(stringWidth(line, font, size) <= width + 0.01)

    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if fits(longer):
            line = longer
            continue
        if line:
            lines.append(line)
        line = word
        while not fits(line):
            count = next(count for count in range(len(line) - 1, 0, -1) if count == 1 or fits(line[:count]))
            lines.append(line[:count])
            line = line[count:]
    return [*lines, line]


def _printable(text: str) -> str:
    """Return the text as the font has it: composed, since marks would not be put in their places. Raises LetterNotPrintable."""
    composed, known = unicodedata.normalize("NFC", text), _font().face.charToGlyph
    for character in composed.replace("\n", ""):
        if ord(character) not in known or unicodedata.category(character).startswith(("M", "Zl", "Zp")):
            raise LetterNotPrintable(f"the font of letters has no U+{ord(character):04X}")
    return composed


@cache
def _font() -> TTFont:
    font = TTFont(_FONT, str(fontpkg_noto_sans.ROOT / "files" / "NotoSans[wdth,wght].ttf"))
    registerFont(font)
    return font
