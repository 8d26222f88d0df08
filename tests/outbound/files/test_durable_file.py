import multiprocessing
import secrets
import stat
from pathlib import Path

from interface.outbound.files.durable_file import read_or_create


def make(path: Path) -> bytes:
    return read_or_create(path, lambda: secrets.token_bytes(32))


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "outbox.key"

    assert make(path) == make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_processes_that_start_at_once_read_the_same_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        keys = pool.map(make, [tmp_path / "keys" / "outbox.key"] * 16)

    assert len(set(keys)) == 1
    assert len(keys[0]) == 32


def test_a_draft_that_a_crash_left_is_no_key(tmp_path: Path) -> None:
    (tmp_path / ".outbox.key.draft").write_bytes(b"half")

    assert len(make(tmp_path / "outbox.key")) == 32
