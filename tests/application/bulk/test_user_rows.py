"""The files of users for bulk jobs."""

import pytest

from application.bulk.user_rows import Format, InvalidBulkFile, users_in
from application.shared.json_lines import ROW_LIMIT


@pytest.mark.parametrize("line", [b'"anna"' + b" " * ROW_LIMIT, b" " * (ROW_LIMIT + 1)])
@pytest.mark.parametrize("size", [1000, ROW_LIMIT, 4 * ROW_LIMIT])
def test_a_line_that_is_too_long_is_refused_and_drops_no_user_after_it(line: bytes, size: int) -> None:
    content = b'"first"\n' + line + b'\n"ben"\n'
    chunks = [content[at : at + size] for at in range(0, len(content), size)]

    with pytest.raises(InvalidBulkFile, match="line 2: has over"):
        users_in(chunks, Format.NDJSON)
