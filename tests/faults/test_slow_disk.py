"""A disk with slow flushes: the event loop does not wait for them."""

import os
import subprocess
import sys
from pathlib import Path

from tests.bench.stage import slow_flush

COMMITS = 40


def test_a_slow_disk_does_not_hold_the_event_loop(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.small_commits", tmp_path / "tickets.db", str(COMMITS)],
        env={**os.environ, **slow_flush(5_000)},
        capture_output=True,
        text=True,
        check=True,
    )
    on_loop, in_thread = map(int, done.stdout.split())

    assert (on_loop, in_thread) == (0, COMMITS + 2)
