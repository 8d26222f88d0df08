"""Backups of a SQLite database: a copy that is whole, made while everybody goes on; and the way back."""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from interface.outbound.files.durable_file import copy_owner, fsync_directory
from interface.outbound.sql import schema, sqlite_schema
from interface.outbound.sql.sqlite_lock import alone, lock_of, share
from interface.outbound.sql.sqlite_store import SqliteStore

# 4 MB: some milliseconds, after which the progress is told and a signal is heard.
_PAGES_AT_ONCE = 1024
_LOGS = ("-wal", "-journal")
_BESIDE = (*_LOGS, "-shm")

Tell = Callable[[str, int, int], None]


class BackupRefused(Exception):
    """A backup that cannot be made, or put back; the text says why, and nothing was changed."""


@dataclass(frozen=True)
class Restored:
    """What a restore did. kept: what was there before."""

    kept: Path | None
    era: str


def write_backup(database: Path, file: Path, tell: Tell, *, replace: bool) -> int:
    """Write a copy of the database as it is at one moment; the file is whole, or not there. Returns its size.

    Writers go on meanwhile. Raises BackupRefused.
    """
    if not database.exists():
        raise BackupRefused(f"there is no database {database}")
    if file.is_dir() or (file.exists() and file.samefile(database)):
        raise BackupRefused(f"{file} is no place for a backup")
    with _refusals(f"{file} was not written"):
        _refuse_to_overwrite(file, replace=replace)
        lock = share(database)
        try:
            with _draft_of(file) as (draft, descriptor):
                _copy(database, draft, tell)
                _known_version(draft, database)
                os.fsync(descriptor)
                _refuse_to_overwrite(file, replace=replace)
                draft.rename(file)
                fsync_directory(file.parent)
        finally:
            os.close(lock)
        return file.stat().st_size


def restore_backup(
    file: Path, database: Path, era: str, now: datetime, tell: Tell, *, replace: bool
) -> Restored:
    """Put the database back to what a backup holds, and begin an era with it.

    replace: although the database holds something, which is then kept beside it. Whatever happens in between, the
    database is the former one or the restored one, whole. Raises BackupRefused.
    """
    if not file.is_file():
        raise BackupRefused(f"there is no file {file}")
    with _refusals(f"{database} was not restored, and is as it was"):
        _known_version(file, file)
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone(database) as nobody_else:
            if not nobody_else:
                raise BackupRefused(
                    f"{database} is in use: stop every process of the service first (serve, deliver, push, publish, follow)"
                )
            lost = _log_of_none(database)
            if lost and not replace:
                raise BackupRefused(
                    f"{lost} may hold the last commits of a database that is not there: bring that back first, or give"
                    " --force, which keeps it beside, under another name"
                )
            full = lost or _holds_something(database)
            if full and not replace:
                raise BackupRefused(
                    f"{database} is not empty: --force keeps it beside, under another name, and puts the backup in its place"
                )
            with _draft_of(database) as (draft, descriptor):
                _copy(file, draft, tell)
                _begin_era(draft, era, now)
                os.fsync(descriptor)
                _fold(database)
                kept = _keep(database, now) if full else None
                _remove_beside(database)  # SQLite would take a log for that of the new file
                copy_owner(database, descriptor)
                draft.rename(database)
                fsync_directory(database.parent)
    return Restored(kept, era)


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BackupRefused(f"{what}: {said}") from error


def _refuse_to_overwrite(file: Path, *, replace: bool) -> None:
    if file.exists() and not replace:
        raise BackupRefused(f"{file} is there already: name another file, or give --force")


@contextmanager
def _draft_of(file: Path) -> Iterator[tuple[Path, int]]:
    """Yield an empty file beside another, that nobody else writes; unless it is renamed, it goes.

    What a crash left over is used anew.
    """
    draft = file.with_name(f".{file.name}.draft")
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.path.samestat(os.fstat(descriptor), draft.stat())
        except (BlockingIOError, FileNotFoundError):
            mine = False  # another process writes it, or has just renamed it
        if not mine:
            raise BackupRefused(f"another process is writing {file}")
        os.ftruncate(descriptor, 0)
        os.fchmod(descriptor, 0o600)
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


def _copy(source: Path, draft: Path, tell: Tell) -> None:
    """Copy a database as it is at one moment, into one file without a log beside it, and check the copy."""
    with _connect(source) as reading:
        # Held until the end, this keeps to what is there now, however much is written meanwhile: without it the copying
        # would begin anew after each commit of another process.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
        with _connect(draft) as writing:
            writing.execute("PRAGMA synchronous=OFF")  # it is brought to the disk as a whole at the end
            reading.backup(
                writing,
                pages=_PAGES_AT_ONCE,
                progress=lambda _, rest, pages: tell("copying", pages - rest, pages),
            )
    tell("checking", 0, 1)
    with _connect(draft) as copied:
        _leave_no_log(copied)
        [found] = copied.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise BackupRefused(f"{source} is damaged: {found}")
    tell("checking", 1, 1)


def _leave_no_log(connection: sqlite3.Connection) -> None:
    """Bring everything into the database's own file. Raises sqlite3.OperationalError where another program uses it."""
    [mode] = connection.execute("PRAGMA journal_mode=DELETE").fetchone()
    if mode != "delete":
        raise sqlite3.OperationalError("another program uses the database")


def _known_version(database: Path, named: Path) -> None:
    """Raise BackupRefused unless it is a store, of a version that this program knows."""
    try:
        with _connect(database) as connection:
            stored = sqlite_schema.stored_schema(connection)
            ours = connection.execute(
                "SELECT 1 FROM sqlite_master WHERE name = ?", (schema.EVENTS_TABLE,)
            ).fetchone()
    except sqlite3.DatabaseError as error:
        raise BackupRefused(f"{named} cannot be read as a database: {error}") from error
    if not ours:
        raise BackupRefused(f"{named} is no database of this service")
    if stored.version > len(schema.SQLITE) and (fault := schema.fault(stored, len(schema.SQLITE))):
        raise BackupRefused(f"{named}: {fault}")


def _log_of_none(database: Path) -> Path | None:
    """Return the log of a database that is gone, such as one that was moved aside by its own name only."""
    logs = [_beside(database, suffix) for suffix in _LOGS]
    return next((log for log in logs if log.exists()), None) if not database.exists() else None


def _holds_something(database: Path) -> bool:
    if not database.exists() or not (database.stat().st_size or _beside(database, "-wal").exists()):
        return False
    try:
        with _connect(database) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                return False
            rows = "SELECT 1 FROM ticket_events UNION ALL SELECT 1 FROM recipients LIMIT 1"
            return connection.execute(rows).fetchone() is not None
    except sqlite3.Error:
        return True  # what it holds cannot be told


def _begin_era(draft: Path, era: str, now: datetime) -> None:
    """Bring the schema up to date, and note that the store was put back to this."""
    store = SqliteStore(draft)
    try:
        store.begin_era(era, now)
    finally:
        store.close()
    with _connect(draft) as connection:
        _leave_no_log(connection)


def _fold(database: Path) -> None:
    """Bring what is still in the log into the file that is about to be replaced, so that no log is left for the new one."""
    if not database.exists():
        return
    try:
        with _connect(database) as connection:
            _leave_no_log(connection)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise BackupRefused(f"another program uses {database}") from error
    except sqlite3.DatabaseError:
        pass  # it is damaged, and kept as it is


def _keep(database: Path, now: datetime) -> Path:
    """Give the database, and its log if it could not be read, another name; it keeps its own until it is replaced."""
    kept = _beside(database, f".before-restore-{now:%Y%m%dT%H%M%SZ}")
    left_by_one_that_was_killed_here = kept.exists() and database.exists() and kept.samefile(database)
    if database.exists() and not left_by_one_that_was_killed_here:
        os.link(database, kept)
    for log in (_beside(database, suffix) for suffix in _LOGS):
        if log.exists():
            log.rename(_beside(kept, log.name.removeprefix(database.name)))
    return kept if kept.exists() else next(kept.parent.glob(f"{kept.name}-*"))
