"""The machine's randomness: read ahead, and never returned twice; and the priority of a thread."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from interface.outbound import system
from interface.outbound.system import SystemRandomness, prefer_other_threads

DRAWS = 500


def drawn(_: object = None) -> list[bytes]:
    randomness = SystemRandomness()
    return [randomness.octets(16) for _ in range(DRAWS)]


def test_as_many_octets_are_returned_as_wanted() -> None:
    randomness = SystemRandomness()

    assert [len(randomness.octets(count)) for count in (0, 1, 16, 17, 5000)] == [0, 1, 16, 17, 5000]
    assert randomness.uuid().version == 4


def test_no_octets_are_returned_twice_to_any_thread() -> None:
    with ThreadPoolExecutor(8) as threads:
        found = [octets for of_thread in threads.map(drawn, range(8)) for octets in of_thread]

    assert len(set(found)) == 8 * DRAWS


def test_returned_octets_are_not_kept() -> None:
    octets = SystemRandomness().octets(16)

    assert system._blocks
    assert not any(octets in block for block in system._blocks)


def test_a_child_process_returns_other_octets() -> None:
    SystemRandomness().octets(1)
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, b"".join(drawn()))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        found = pipe.read()
    os.waitpid(child, 0)

    assert len(found) == 16 * DRAWS
    assert not {found[begin : begin + 16] for begin in range(0, len(found), 16)} & set(drawn())


def test_a_sandbox_that_forbids_priorities_stops_no_slow_hash(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As the unit of systemd does (`SystemCallFilter=~@resources`): an error would break the pool of the thread."""

    def forbidden(*_: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "setpriority", forbidden)
    caplog.set_level("INFO")
    with ThreadPoolExecutor(1, initializer=prefer_other_threads) as thread:
        assert thread.submit(drawn).result()

    assert "keep the priority" in caplog.text
