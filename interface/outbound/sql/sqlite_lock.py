"""The lock of a SQLite database: shared by the processes that use it, exclusive for replacing its file."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from application.shared.errors import StoreUnavailable
from interface.outbound.files.durable_file import locked_file, open_own


def share(path: Path) -> int:
    """Lock a database for use until the returned descriptor is closed, as it is by a crash.

    Raises StoreUnavailable if its file is being replaced, OSError.
    """
    descriptor = open_own(lock_of(path), path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreUnavailable(f"{path} is being restored: retry after the restore") from None
    return descriptor


@contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Lock a database for the replacement of its file; False: it is in use. Raises OSError."""
    with locked_file(lock_of(path), path) as is_unused:
        yield is_unused


def lock_of(path: Path) -> Path:
    """Return the lock file of a database. It is never removed: another process may be about to lock it."""
    return path.with_name(f"{path.name}.serving.lock")
