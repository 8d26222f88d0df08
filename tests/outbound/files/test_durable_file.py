import fcntl
import multiprocessing
import os
import secrets
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from interface.outbound.files.durable_file import locked_directory, read_or_create

# As release 1.0 locks a directory, until its input ends.
FORMER_LOCK = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""
PROCESSES, ADDITIONS = 4, 25


@contextmanager
def former_lock(directory: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", FORMER_LOCK, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "locked\n"
        yield process


def make(path: Path) -> bytes:
    return read_or_create(path, lambda: secrets.token_bytes(32))


def test_a_key_is_created_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "outbox.key"

    assert make(path) == make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_concurrently_starting_processes_read_the_same_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        keys = pool.map(make, [tmp_path / "keys" / "outbox.key"] * 16)

    assert len(set(keys)) == 1
    assert len(keys[0]) == 32


def test_the_draft_of_a_crash_is_not_a_key(tmp_path: Path) -> None:
    (tmp_path / ".outbox.key.draft").write_bytes(b"half")

    assert len(make(tmp_path / "outbox.key")) == 32


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_process_of_the_former_release_excludes_a_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    tmp_path.chmod(mode)
    with former_lock(tmp_path) as former:
        monkeypatch.setattr(time, "sleep", lambda _: former.communicate())
        with locked_directory(tmp_path):
            assert former.returncode == 0


def test_a_writer_excludes_a_process_of_the_former_release(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with locked_directory(tmp_path), pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def test_a_directory_that_another_user_holds_delays_a_writer_by_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = list[float]()
    with former_lock(tmp_path):
        monkeypatch.setattr(time, "sleep", pauses.append)
        with locked_directory(tmp_path):
            pass

    assert sum(pauses) == pytest.approx(1)


def add(directory: Path) -> None:
    counter = directory / "counter"
    for number in range(ADDITIONS):
        # As `tickets doctor` advises.
        directory.chmod(0o755 if number % 2 else 0o700)
        with locked_directory(directory):
            counter.write_text(str(int(counter.read_text()) + 1))


def test_a_change_of_the_mode_does_not_change_the_lock(tmp_path: Path) -> None:
    (tmp_path / "counter").write_text("0")
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        pool.map(add, [tmp_path] * PROCESSES)

    assert (tmp_path / "counter").read_text() == str(PROCESSES * ADDITIONS)
    assert stat.S_IMODE((tmp_path / ".lock").stat().st_mode) == 0o600
