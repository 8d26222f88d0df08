"""Who uses a SQLite database: every process that has it open, or one alone that replaces its file."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from application.shared.errors import StoreUnavailable
from interface.outbound.files.durable_file import copy_owner


def share(path: Path) -> int:
    """Use a database beside others, until the descriptor that is returned is closed; a crash closes it, too.

    Raises StoreUnavailable where its file is being replaced, OSError.
    """
    descriptor = _opened(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreUnavailable(f"{path} is being restored: come again when that is done") from None
    return descriptor


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Keep everybody else from a database while its file is replaced; False: somebody uses it. Raises OSError."""
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
    """Return the file whose lock it is. It is never removed: another process may be about to lock it."""
    return path.with_name(f"{path.name}.serving.lock")
