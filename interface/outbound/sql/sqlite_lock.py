"""The lock of a SQLite database: shared by the processes that use it, exclusive for replacing its file."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from application.shared.errors import StoreUnavailable
from interface.outbound.files.durable_file import copy_owner


def share(path: Path) -> int:
    """Lock a database for use until the returned descriptor is closed, as it is by a crash.

    Raises StoreUnavailable if its file is being replaced, OSError.
    """
    descriptor = _opened(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreUnavailable(f"{path} is being restored: retry after the restore") from None
    return descriptor


@contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Lock a database for the replacement of its file; False: it is in use. Raises OSError."""
    descriptor = _opened(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    descriptor = os.open(lock_of(path), os.O_RDWR | os.O_CREAT, 0o600)
    copy_owner(path, descriptor)
    return descriptor


def lock_of(path: Path) -> Path:
    """Return the lock file of a database. It is never removed: another process may be about to lock it."""
    return path.with_name(f"{path.name}.serving.lock")
