"""The letter: a ticket on one A4 page, with the address in the window of the envelope."""

import io
import re
import threading
import unicodedata
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import fontpkg_ibm_plex_mono
import fontpkg_noto_sans
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm

from interface.lazy import lazy

if TYPE_CHECKING:
    from reportlab.pdfbase import pdfmetrics, ttfonts
    from reportlab.pdfgen import canvas
else:
    pdfmetrics, ttfonts = lazy("reportlab.pdfbase.pdfmetrics"), lazy("reportlab.pdfbase.ttfonts")
    canvas = lazy("reportlab.pdfgen.canvas")

_FONT, _TICKET_FONT = "Noto Sans", "IBM Plex Mono SemiBold"
_SIZE, _SMALL, _SUBJECT_SIZE, _LEADING = 10.5, 7.5, 13, 15
_TICKET_SIZE, _LEAST_TICKET_SIZE = 17, 11
_ADDRESS_SIZES = (_SIZE, 10, 9.5, 9, 8.5, 8, 7.5, 7)
_LEFT, _RIGHT, _BOTTOM = 25 * mm, 20 * mm, 20 * mm
_DAY_TOP, _TEXT_TOP = 98 * mm, 105 * mm
_WIDTH = A4[0] - _LEFT - _RIGHT
_PADDING = 4 * mm
# ReportLab keeps the state of the current document in the font, so one document is rendered at a time.
_ONE_AT_A_TIME = threading.Lock()


class Window(StrEnum):
    """The side of the envelope's window: left (DIN 5008) or right (SN 010130, usual in Switzerland)."""

    LEFT = "left"
    RIGHT = "right"


class _Field(NamedTuple):
    """The area of sender and address, measured from the left and upper edges of the page."""

    left: float
    top: float
    width: float
    height: float


# The windows show, from the left and from the top, 20 to 105 and 45 to 90 mm (form B); 112 to 202 and 45 to 90 mm. The
# fields are smaller, since a sheet moves in its envelope.
_FIELDS = {
    Window.LEFT: _Field(25 * mm, 48 * mm, 78 * mm, 40 * mm),
    Window.RIGHT: _Field(118 * mm, 50 * mm, 78 * mm, 38 * mm),
}


class InvalidLetter(Exception):
    """The letter cannot be printed; the message gives the reason and no personal data."""


class LetterTooLong(InvalidLetter):
    """The text does not fit on the page, or the address in the window."""


class LetterNotPrintable(InvalidLetter):
    """The font lacks a character."""


def render_letter(
    text: str, *, address: Sequence[str], sender: str, day: str, window: Window, language: str
) -> bytes:
    """Return the letter as a PDF. Raises LetterTooLong, LetterNotPrintable.

    day: as printed. text: its first line is the subject; empty lines separate paragraphs, and a paragraph indented by four
    blanks, the ticket, is framed. The same arguments give the same bytes.
    """
    with _ONE_AT_A_TIME:
        subject, _, body = _printable(text.expandtabs(4)).strip("\n").partition("\n")
        buffer = io.BytesIO()
        font: Any = (
            _font().fontName
        )  # a str, unlike in the stubs; it replaces Helvetica, which is not embedded
        page = canvas.Canvas(buffer, pagesize=A4, invariant=1, lang=language, initialFontName=font)
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


def _write_address(page: "canvas.Canvas", address: Sequence[str], sender: str, field: _Field) -> None:
    top, end = field.top, field.top + field.height
    page.setFont(_FONT, _SMALL)
    sender_lines = _wrapped(sender, _FONT, _SMALL, field.width)
    for line in sender_lines:
        top += _SMALL * 1.25
        page.drawString(field.left, A4[1] - top, line)
    top += 3.5
    page.setLineWidth(0.3)
    widest = max(pdfmetrics.stringWidth(line, _FONT, _SMALL) for line in sender_lines)
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


def _write_paragraph(page: "canvas.Canvas", paragraph: str, top: float) -> float:
    rows = [row.strip() for row in paragraph.split("\n")]
    if not paragraph.startswith("    "):
        return _write(page, " ".join(rows), top, _SIZE)
    return _write_apart(page, rows, top)


def _write(page: "canvas.Canvas", text: str, top: float, size: float) -> float:
    page.setFont(_FONT, size)
    for line in _wrapped(text, _FONT, size, _WIDTH):
        top += _LEADING * size / _SIZE
        _check_room(top)
        page.drawString(_LEFT, A4[1] - top, line)
    return top


def _write_apart(page: "canvas.Canvas", rows: Sequence[str], top: float) -> float:
    """Write into a frame, in the largest size that fits."""
    known = _ticket_font().face.charToGlyph
    font = _TICKET_FONT if all(ord(character) in known for row in rows for character in row) else _FONT
    room = _WIDTH - 2 * _PADDING
    widest = max(pdfmetrics.stringWidth(row, font, 1) for row in rows)
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
    """Wrap a text at its blanks, and an overlong word anywhere.

    ReportLab's own wrapping lets overlong words run off the page and wraps at non-breaking spaces.
    """

    def fits(line: str) -> bool:
        return bool(pdfmetrics.stringWidth(line, font, size) <= width + 0.01)

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
    """Return the text in composed form, since combining marks would be misplaced. Raises LetterNotPrintable."""
    composed, known = unicodedata.normalize("NFC", text), _font().face.charToGlyph
    for character in composed.replace("\n", ""):
        if ord(character) not in known or unicodedata.category(character).startswith(("M", "Zl", "Zp")):
            raise LetterNotPrintable(f"the letter's font lacks U+{ord(character):04X}")
    return composed


def _font() -> "ttfonts.TTFont":
    return _registered(_FONT, fontpkg_noto_sans.ROOT / "files" / "NotoSans[wdth,wght].ttf")


def _ticket_font() -> "ttfonts.TTFont":
    """Return a font whose zero has a dot, unlike its O, and whose 1, l and I differ."""
    return _registered(_TICKET_FONT, fontpkg_ibm_plex_mono.ROOT / "files" / "IBMPlexMono-SemiBold.ttf")


@cache
def _registered(name: str, file: Path) -> "ttfonts.TTFont":
    font = ttfonts.TTFont(name, str(file))
    pdfmetrics.registerFont(font)
    return font
