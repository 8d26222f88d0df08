from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from application.shared.json_lines import ROW_LIMIT, JsonLine, RowFault, json_lines, parsed
from application.tickets.credential_row import CredentialRow
from tests.support.foreign import foreign_bytes, fuzz
from tests.support.lanes import FUZZ_CASES

ROW = (
    '{"extId":"t-1","userExtId":"u-1","stateName":"tmp-locked","ticket":"{SSHA}AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",'
    '"validity":{"from":"2026-01-01T00:00:00Z"},"failureCount":3,"version":2,"modificationComment":"lost"}\n'
)


class Named(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: int


@given(st.lists(st.binary(max_size=9)), st.integers(1, 7))
def test_lines_are_those_of_the_complete_file(lines: Sequence[bytes], size: int) -> None:
    lines = [line.replace(b"\n", b"") for line in lines]
    content = b"\n".join(lines)
    chunks = [content[start : start + size] for start in range(0, len(content), size)]

    assert list(json_lines(chunks)) == [
        JsonLine(number, line) for number, line in enumerate(lines, 1) if line.strip()
    ]


@pytest.mark.parametrize("size", [1000, 10 * ROW_LIMIT])
def test_a_row_that_is_too_long_is_skipped_and_the_next_one_read(size: int) -> None:
    content = b'{"name":1}\n' + b"x" * (ROW_LIMIT + 1) + b'\n{"name":3}\n' + b"y" * (ROW_LIMIT + 1)
    chunks = [content[start : start + size] for start in range(0, len(content), size)]

    found = list(json_lines(chunks))

    assert [row.line for row in found] == [1, 2, 3, 4]
    assert [row.content for row in found] == [b'{"name":1}', None, b'{"name":3}', None]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the row has over 65536 bytes"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"name": 1, "name": 2}', "a field is named twice"),
        (b'{"name": "x"}', "name: Input should be a valid integer"),
        (b'{"name": 1, "more": 2}', "more: Extra inputs are not permitted"),
        (b"[]", "Input should be an object"),
    ],
)
def test_a_fault_of_a_row_has_a_message(content: bytes | None, message: str) -> None:
    with pytest.raises(RowFault, match=message):
        parsed(JsonLine(1, content), Named)


@pytest.mark.parametrize("cases", FUZZ_CASES)
def test_any_file_of_credentials_is_read_or_refused_by_line(cases: int) -> None:
    def read(content: bytes) -> None:
        for row in json_lines([content]):
            try:
                parsed(row, CredentialRow)
            except RowFault:
                continue

    fuzz(read, foreign_bytes([ROW, ROW * 2]), cases)
