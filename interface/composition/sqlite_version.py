"""The fault of SQLite that can damage a database to which several programs write (ADR 21)."""

import logging
import sqlite3
from collections.abc import Iterator

from interface.cli.operations.commands import Finding, Health
from interface.settings import Settings

log = logging.getLogger(__name__)
_CORRECTED_IN = (3, 51, 3)
# Corrections of older series; each series ends before the next minor version.
_ALSO_CORRECTED_IN = ((3, 44, 6), (3, 50, 7))
_ADVICE = (
    "let no process of release 1.0 and no other program write to it beside this release, whose processes take turns, or use a"
    " Python with SQLite 3.51.3 or later, or PostgreSQL"
)


def is_affected(version: tuple[int, int, int]) -> bool:
    """Return whether this version of SQLite has the fault."""
    also = any(version[:2] == corrected[:2] and version >= corrected for corrected in _ALSO_CORRECTED_IN)
    return version < _CORRECTED_IN and not also


def warn_of_sqlite(settings: Settings) -> None:
    """Log a warning in a process that shares its store with others, if this version of SQLite can damage it."""
    if settings.sqlite_path and is_affected(sqlite3.sqlite_version_info):
        log.warning("%s: %s", _fault(), _ADVICE)


def check_sqlite(settings: Settings) -> Iterator[Finding]:
    """Name the version of SQLite, and check whether several processes may share a file with it."""
    version = sqlite3.sqlite_version
    if not settings.sqlite_path:
        return
    if not is_affected(sqlite3.sqlite_version_info):
        yield Finding("SQLite", Health.GOOD, f"version {version}")
    elif not (settings.deliver and settings.push):
        yield Finding("SQLite", Health.WARNING, _fault(), _ADVICE)
    else:
        yield Finding(
            "SQLite",
            Health.GOOD,
            f"version {version}, for processes of this release (docs/operations.md, Versions of SQLite)",
        )


def _fault() -> str:
    return (
        f"SQLite {sqlite3.sqlite_version} can, very rarely, damage a database to which several programs write at the same"
        " time"
    )
