"""Online backups of a SQLite database, and their restore."""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from application.shared.errors import Unavailable
from interface.outbound.files.durable_file import copy_owner, fsync_directory, make_directory, open_own
from interface.outbound.sql import schema, sqlite_schema
from interface.outbound.sql.sqlite_lock import exclusive, lock_of, share

# 4 MB: some milliseconds between reports of progress and checks for signals.
_PAGES_PER_STEP = 1024
_LOGS = ("-wal", "-journal")
_BESIDE = (*_LOGS, "-shm")

ReportProgress = Callable[[str, int, int], None]


class BackupRefused(Exception):
    """The backup or restore was refused for the given reason; nothing was changed."""


@dataclass(frozen=True)
class Restored:
    """The result of a restore. kept: the former database."""

    kept: Path | None
    era: str


def write_backup(database: Path, file: Path, report: ReportProgress, *, replace: bool) -> int:
    """Write a consistent copy of the database atomically while the service runs. Returns its size.

    Raises BackupRefused.
    """
    if not database.exists():
        raise BackupRefused(f"no database {database}")
    if file.is_dir() or (file.exists() and file.samefile(database)):
        raise BackupRefused(f"{file} is a directory or the database itself")
    with _refusals(f"{file} was not written"):
        _refuse_to_overwrite(file, replace=replace)
        lock = share(database)
        try:
            with _draft_of(file) as (draft, descriptor):
                _copy(database, draft, report)
                _check_version(draft, database)
                os.fsync(descriptor)
                _refuse_to_overwrite(file, replace=replace)
                draft.rename(file)
                fsync_directory(file.parent)
        finally:
            os.close(lock)
        return file.stat().st_size


def restore_backup(
    file: Path,
    database: Path,
    begin_era: Callable[[Path], str],
    now: datetime,
    report: ReportProgress,
    *,
    replace: bool,
) -> Restored:
    """Restore the database from a backup, and begin a new era.

    begin_era: migrates the schema of a database, records the restore in it, and returns the name of the era. replace: even
    if the database contains data; the former database is kept beside it. The replacement is atomic. Raises BackupRefused.
    """
    if not file.is_file():
        raise BackupRefused(f"no file {file}")
    with _refusals(f"{database} was not restored and is unchanged"):
        _check_version(file, file)
        make_directory(database.parent)
        with exclusive(database) as is_unused:
            if not is_unused:
                raise BackupRefused(
                    f"{database} is in use: stop every process of the service first (serve, deliver, push, publish, follow)"
                )
            lost = _orphaned_log(database)
            if lost and not replace:
                raise BackupRefused(
                    f"{lost} may contain the last commits of a missing database: restore that database first, or keep"
                    " the log under another name with --force"
                )
            full = lost or _has_data(database)
            if full and not replace:
                raise BackupRefused(
                    f"{database} is not empty: --force replaces it and keeps it under another name"
                )
            with _draft_of(database) as (draft, descriptor):
                _copy(file, draft, report)
                era = _begin_era(draft, begin_era)
                os.fsync(descriptor)
                _merge_log(database)
                kept = _keep(database, now) if full else None
                _remove_beside(database)  # SQLite would apply a log to the new file
                copy_owner(database, descriptor)
                draft.rename(database)
                fsync_directory(database.parent)
    return Restored(kept, era)


@contextmanager
def _refusals(prefix: str) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BackupRefused(f"{prefix}: {reason}") from error


def _refuse_to_overwrite(file: Path, *, replace: bool) -> None:
    if file.exists() and not replace:
        raise BackupRefused(f"{file} exists: choose another file or use --force")


@contextmanager
def _draft_of(file: Path) -> Iterator[tuple[Path, int]]:
    """Yield a locked, empty file beside another; it is removed unless it is renamed.

    The leftover of a crash is reused.
    """
    draft = file.with_name(f".{file.name}.draft")
    descriptor = open_own(draft, file.parent)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.path.samestat(os.fstat(descriptor), draft.stat())
        except (BlockingIOError, FileNotFoundError):
            mine = False  # another process writes it or has just renamed it
        if not mine:
            raise BackupRefused(f"another process is writing {file}")
        os.ftruncate(descriptor, 0)
        try:
            _remove_beside(draft)
            yield draft, descriptor
        finally:
            draft.unlink(missing_ok=True)
            _remove_beside(draft)
            lock_of(draft).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _remove_beside(database: Path) -> None:
    for suffix in _BESIDE:
        _beside(database, suffix).unlink(missing_ok=True)


def _beside(database: Path, suffix: str) -> Path:
    return database.with_name(database.name + suffix)


def _connect(database: Path) -> "closing[sqlite3.Connection]":
    return closing(sqlite3.connect(database, isolation_level=None))


def _copy(source: Path, draft: Path, report: ReportProgress) -> None:
    """Copy a consistent snapshot of a database into one file without a log, and check the copy."""
    with _connect(source) as reading:
        # The read transaction pins the snapshot: without it the copy would restart after each commit of another process.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
        with _connect(draft) as writing:
            writing.execute("PRAGMA synchronous=OFF")  # the caller syncs the complete file
            reading.backup(
                writing,
                pages=_PAGES_PER_STEP,
                progress=lambda _, rest, pages: report("copying", pages - rest, pages),
            )
    report("checking", 0, 1)
    with _connect(draft) as copied:
        _leave_no_log(copied)
        [found] = copied.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise BackupRefused(f"{source} is damaged: {found}")
    report("checking", 1, 1)


def _leave_no_log(connection: sqlite3.Connection) -> None:
    """Merge the log into the database file. Raises sqlite3.OperationalError if another program uses it."""
    [mode] = connection.execute("PRAGMA journal_mode=DELETE").fetchone()
    if mode != "delete":
        raise sqlite3.OperationalError("another program uses the database")


def _check_version(database: Path, named: Path) -> None:
    """Raise BackupRefused unless it is a store with a schema that this program can use."""
    try:
        with _connect(database) as connection:
            stored = sqlite_schema.stored_schema(connection)
            ours = connection.execute(
                "SELECT 1 FROM sqlite_master WHERE name = ?", (schema.EVENTS_TABLE,)
            ).fetchone()
    except sqlite3.DatabaseError as error:
        raise BackupRefused(f"{named} is not a readable database: {error}") from error
    if not ours:
        raise BackupRefused(f"{named} is not a database of this service")
    if stored.version > len(schema.SQLITE) and (fault := schema.fault(stored, len(schema.SQLITE))):
        raise BackupRefused(f"{named}: {fault}")


def _orphaned_log(database: Path) -> Path | None:
    """Return the log of a missing database, such as one that was moved without its log."""
    logs = [_beside(database, suffix) for suffix in _LOGS]
    return next((log for log in logs if log.exists()), None) if not database.exists() else None


def _has_data(database: Path) -> bool:
    if not database.exists() or not (database.stat().st_size or _beside(database, "-wal").exists()):
        return False
    try:
        with _connect(database) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                return False
            rows = "SELECT 1 FROM ticket_events UNION ALL SELECT 1 FROM recipients LIMIT 1"
            return connection.execute(rows).fetchone() is not None
    except sqlite3.Error:
        return True  # unreadable, so its content is unknown


def _begin_era(draft: Path, begin_era: Callable[[Path], str]) -> str:
    try:
        era = begin_era(draft)
    except (RuntimeError, Unavailable) as error:
        raise BackupRefused(f"the restore cannot be recorded: {error}") from error
    with _connect(draft) as connection:
        _leave_no_log(connection)
    return era


def _merge_log(database: Path) -> None:
    """Merge the log into the file that will be replaced, so that no log is left beside the new file."""
    if not database.exists():
        return
    try:
        with _connect(database) as connection:
            _leave_no_log(connection)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise BackupRefused(f"another program uses {database}") from error
    except sqlite3.DatabaseError:
        pass  # a damaged database is kept unchanged


def _keep(database: Path, now: datetime) -> Path:
    """Link the database under another name, and rename its remaining log; the former name stays until the replacement."""
    kept = _beside(database, f".before-restore-{now:%Y%m%dT%H%M%SZ}")
    linked_before_a_crash = kept.exists() and database.exists() and kept.samefile(database)
    if database.exists() and not linked_before_a_crash:
        os.link(database, kept)
    for log in (_beside(database, suffix) for suffix in _LOGS):
        if log.exists():
            log.rename(_beside(kept, log.name.removeprefix(database.name)))
    return kept if kept.exists() else next(kept.parent.glob(f"{kept.name}-*"))
