"""The rows of a CSV file (RFC 4180), read in a stream, with at most one row and one chunk in memory.

The file is in UTF-8, or in UTF-16 with a byte order mark; commas, semicolons or tabs separate the fields, as spreadsheets
write them in English, German and French. A blank after a separator does not belong to the field.
"""

import codecs
import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

ROW_LIMIT = 64 * 1024
"""The maximum length of a row in characters."""
_SEPARATORS = ",;\t"
_NOT_TEXT = "not {}: the file may be in another encoding, such as Windows-1252. Save it as CSV in UTF-8, and import it again"
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class CsvFault(Exception):
    """The file cannot be read beyond this line (the first one: 1)."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")


class Row(NamedTuple):
    """The fields of a row; line: the number of its first line."""

    line: int
    fields: list[str]


def csv_rows(chunks: Iterable[bytes], expected: Sequence[str]) -> Iterator[Row]:
    """Yield each row except blank ones.

    expected: names of columns, by which the separator is recognised in the first line. Raises CsvFault.
    """
    lines = _lines(_text(chunks))
    first = next(lines, "")
    separator = max(_SEPARATORS, key=lambda separator: len({*expected} & {*_split(first, separator)}))
    record = _Record(chain([first], lines))
    field = rf' *(?:"(?:[^"]|"")*"|[^" {separator}\r\n][^"{separator}\r\n]*)?'
    well_formed = re.compile(rf"{field}(?:{separator}{field})*")
    reader = csv.reader(record.lines(), delimiter=separator, strict=True, skipinitialspace=True)
    while True:
        record.begin()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            raise CsvFault(record.line, _fault(record.text)) from None
        if '"' in record.text and not well_formed.fullmatch(record.text.rstrip("\r\n")):
            raise CsvFault(record.line, _fault(record.text))
        if any(fields):
            yield Row(record.line, fields)


class _Record:
    """The lines of a file, of which those of the current row are kept."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._read = 0
        self.line = 1
        self.text = ""

    def begin(self) -> None:
        self.line, self.text = self._read + 1, ""

    def lines(self) -> Iterator[str]:
        for line in self._lines:
            self._read += 1
            self.text += line
            if len(self.text) > ROW_LIMIT:
                raise CsvFault(
                    self.line, f"the row has over {ROW_LIMIT} characters: is a quotation mark missing?"
                )
            yield line


def _split(header: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([header], delimiter=separator, strict=True, skipinitialspace=True), [])
    except csv.Error:
        return []


def _fault(text: str) -> str:
    if text.count('"') % 2:
        return "a quotation mark is not closed, so the end of the row is unknown"
    if "\r" in text.replace("\r\n", ""):
        return "a carriage return is inside the row: end each line with LF or CR LF"
    return 'a quotation mark is inside a field: put the field in quotation marks, and double each mark in it ("")'


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """Yield the lines with their ends; a line without an end stops at the limit of a row."""
    rest = ""
    for text in texts:
        *lines, rest = (rest + text).split("\n")
        yield from (f"{line}\n" for line in lines)
        if len(rest) > ROW_LIMIT:
            break
    if rest:
        yield rest


def _text(chunks: Iterable[bytes]) -> Iterator[str]:
    """Decode the file by its byte order mark. Raises CsvFault with the line of the first bytes that are not text."""
    source, begun = iter(chunks), b""
    while len(begun) < len(codecs.BOM_UTF8) and (chunk := next(source, b"")):
        begun += chunk
    mark = next((mark for mark in _MARKS if begun.startswith(mark)), b"")
    encoding = _MARKS.get(mark, "utf-8")
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    for part in chain([begun[len(mark) :]], source, [None]):
        try:
            text = decoder.decode(part or b"", final=part is None)
        except UnicodeDecodeError as error:
            text = error.object[: error.start].decode(encoding)
            yield text
            raise CsvFault(line + text.count("\n"), _NOT_TEXT.format(encoding.upper())) from None
        line += text.count("\n")
        yield text
