"""Any bytes are read exactly as by a second, simple reader, or are refused with the line; never another exception."""

import re
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from application.transaction.command import Answer
from application.transaction.outcomes import Outcome
from application.users.csv_rows import CsvFault, csv_rows
from application.users.import_users import COLUMNS, ImportReport, InvalidImportFile, import_users
from tests.support.fakes import TRACEPARENT
from tests.support.lanes import FUZZ_CASES

HEADERS = ["userExtId,email", "email;extId;name", "extId\temail\tpostalAddress", "userExtId, email,phone"]
PIECES = [
    *',;\t" \r\n@|a\xe4',
    "\r\n",
    '""',
    "a@example.com",
    "b-1,b@example.com,",
    "\x00",
    "\ufeff",
    "\u202e",
]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1"]
TEXTS = st.builds(
    lambda header, pieces: header + "".join(pieces),
    st.sampled_from([f"{header}\n" for header in HEADERS] + [""]),
    st.lists(st.sampled_from(PIECES), max_size=60),
)
CONTENTS = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda text, encoding: text.encode(encoding, "replace"), TEXTS, st.sampled_from(ENCODINGS)),
    st.builds(
        lambda text, bad, place: text.encode()[:place] + bad + text.encode()[place:],
        TEXTS,
        st.binary(min_size=1, max_size=3),
        st.integers(0, 60),
    ),
)


def reference(content: bytes) -> tuple[list[list[str]], bool]:
    """Return the rows of a file that are not blank, character by character, and whether the file ends well."""
    marks = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
    mark = next((mark for mark in marks if content.startswith(mark)), b"")
    encoding, octets = marks.get(mark, "utf-8"), content.removeprefix(mark)
    try:
        text, ends_well = octets.decode(encoding), True
    except UnicodeDecodeError as error:
        text, ends_well = octets[: error.start].decode(encoding), False
    header = text.partition("\n")[0]
    separator = max(",;\t", key=lambda one: len({"extId", *COLUMNS} & set(names(header, one))))
    try:
        rows = parse(text, separator)
    except StopIteration as stop:
        rows, ends_well = stop.value, False
    return [row for row in rows if any(row)], ends_well


def names(header: str, separator: str) -> list[str]:
    try:
        return [name for row in parse(header, separator) for name in row]
    except StopIteration:
        return []


def parse(text: str, separator: str) -> list[list[str]]:
    """Return the rows. Raises StopIteration with the rows before the first malformed one."""
    rows: list[list[str]] = []
    while text:
        row = []
        while True:
            text = text.lstrip(" ")
            if text.startswith('"'):
                cell = re.match(r'"((?:[^"]|"")*)"', text)
                if not cell:
                    raise StopIteration(rows)
                row.append(cell[1].replace('""', '"'))
                text = text[cell.end() :]
            else:
                cell = re.match(rf'[^"{separator}\r\n]*', text)
                assert cell
                row.append(cell[0])
                text = text[cell.end() :]
            if not text.startswith(separator):
                break
            text = text[1:]
        end = re.match(r"\r*\n|\r*$", text)
        if not end:
            raise StopIteration(rows)
        text = text[end.end() :]
        rows.append(row)
    return rows


def in_chunks(content: bytes, size: int) -> Iterator[bytes]:
    return (content[place : place + size] for place in range(0, len(content), size))


@pytest.mark.parametrize("examples", FUZZ_CASES)
def test_any_bytes_are_read_as_by_the_reference_or_refused_with_the_line(examples: int) -> None:
    @settings(max_examples=examples)
    @given(content=CONTENTS, size=st.integers(1, 80))
    @example(content=b'email,extId\n"a\nb",c\n', size=1)
    def check(content: bytes, size: int) -> None:
        rows, ends_well = reference(content)
        read: list[list[str]] = []
        fault = ""
        try:
            read.extend(row.fields for row in csv_rows(in_chunks(content, size), [*COLUMNS, "extId"]))
        except CsvFault as error:
            fault = str(error)
        assert read == (rows if ends_well else rows[: len(read)])
        assert bool(fault) is not ends_well
        assert not fault or re.match(r"line [1-9][0-9]*: ", fault)

    check()


@pytest.mark.parametrize("examples", FUZZ_CASES)
def test_any_bytes_register_users_of_the_reference_or_are_refused_with_the_line(examples: int) -> None:
    @settings(max_examples=examples)
    @given(content=CONTENTS, size=st.integers(1, 80))
    def check(content: bytes, size: int) -> None:
        rows, _ = reference(content)
        registered: list[list[str]] = []

        def submit(command: Any) -> Future[Answer]:
            registered.append([command.subject.user_ext_id, command.contact.email or ""])
            done: Future[Answer] = Future()
            done.set_result(
                Answer(outcome=Outcome.CREATED, body="", correlation_id=TRACEPARENT, request_digest="")
            )
            return done

        report = ImportReport()
        try:
            import_users(
                in_chunks(content, size),
                "client-123",
                actor="import",
                correlation_id=TRACEPARENT,
                new_command_id=lambda: "id",
                submit=submit,
                report=report,
                ignore_columns=True,
            )
        except InvalidImportFile:
            assert registered == []
            return
        assert all(re.match(r"line [1-9][0-9]*: ", fault) for fault in report.faults)
        columns = ["userExtId" if name.strip() == "extId" else name.strip() for name in rows[0]]
        places = [columns.index("userExtId"), columns.index("email")]
        expected = [[row[place] for place in places] for row in rows[1:] if len(row) == len(columns)]
        assert report.created == report.good == len(registered)
        assert len(registered) + report.bad >= len(rows[1:]) or "not read" in report.faults[-1]
        assert all(user in expected for user in registered)

    check()
