"""`tickets backup` and `tickets restore` with a kill -9 at the point in TICKETS_TEST_CRASH."""

import os
import signal
from pathlib import Path

from interface.outbound.sql import sqlite_backup

CRASH = "TICKETS_TEST_CRASH"
copy, rename = sqlite_backup._copy, Path.rename


def die_at(point: str) -> None:
    """Kill this process, like a power cut, if this is the point."""
    if os.environ[CRASH] == point:
        os.kill(os.getpid(), signal.SIGKILL)


def copy_until(source: Path, draft: Path, report: sqlite_backup.ReportProgress) -> None:
    """Copy up to the point."""

    def report_until(what: str, done: int, of: int) -> None:
        if done * 2 >= of:
            die_at(what)
        report(what, done, of)

    copy(source, draft, report_until)


def rename_until(path: Path, target: Path) -> Path:
    """Rename, unless the process is killed before."""
    die_at("rename")
    renamed = rename(path, target)
    die_at("renamed")
    return renamed


sqlite_backup._PAGES_PER_STEP = 1
sqlite_backup._copy = copy_until
Path.rename = rename_until  # type: ignore[assignment, method-assign]
