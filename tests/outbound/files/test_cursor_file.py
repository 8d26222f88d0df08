import stat
from pathlib import Path

import pytest

from application.record.eras import EventId
from application.shared.errors import StoreUnavailable
from interface.outbound.files.cursor_file import CursorRefused, open_cursor

OF = "tickets/client-1"


def test_saved_progress_survives_and_unsaved_progress_does_not(tmp_path: Path) -> None:
    path = tmp_path / "var" / "cursor.json"
    with open_cursor(path, OF) as cursor:
        assert cursor.last("client-1") == (0, "")
        cursor.move("client-1", EventId(7))
        cursor.keep()
        cursor.move("client-1", EventId(8))

    with open_cursor(path, OF) as cursor:
        assert cursor.last("client-1") == (7, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_draft_of_a_crash_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "cursor.json"
    (tmp_path / ".cursor.json.draft").write_text('{"of":"ti')

    with open_cursor(path, OF) as cursor:
        cursor.move("client-1", EventId(1))
        cursor.keep()

    with open_cursor(path, OF) as cursor:
        assert cursor.last("client-1") == (1, "")


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b'{"of":"tickets/client-1"}', b'{"of":"tickets/client-1","positions":{"a":-1}}'],
)
def test_an_invalid_file_is_rejected_and_not_changed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cursor.json"
    path.write_bytes(content)

    with pytest.raises(CursorRefused, match="is not a cursor file"), open_cursor(path, OF):
        pass

    assert path.read_bytes() == content


def test_a_cursor_file_has_one_user_and_one_target(tmp_path: Path) -> None:
    path = tmp_path / "cursor.json"
    with open_cursor(path, OF) as cursor:
        with pytest.raises(CursorRefused, match="in use by another process"), open_cursor(path, OF):
            pass
        cursor.move("client-1", EventId(1))
        cursor.keep()

    with (
        pytest.raises(CursorRefused, match="belongs to tickets/client-1, not to"),
        open_cursor(path, "other"),
    ):
        pass


def test_a_disk_error_is_reported_as_an_unavailable_store(tmp_path: Path) -> None:
    path = tmp_path / "cursor.json"
    with open_cursor(path, OF) as cursor:
        cursor.move("client-1", EventId(1))
        (tmp_path / ".cursor.json.draft").mkdir()  # in the way of the draft
        with pytest.raises(StoreUnavailable, match="cannot write the cursor file"):
            cursor.keep()
