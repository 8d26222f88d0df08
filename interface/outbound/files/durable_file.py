"""Files written atomically and durably, readable by the service's user only."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path


def read_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return the content of the file, which is created if it is missing.

    If several processes start concurrently, one creates the file, atomically. Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked_directory(path.parent):
        if not path.exists():
            replace_durably(path, make())
    return path.read_bytes()


def replace_durably(path: Path, content: bytes) -> None:
    """Replace the file atomically and durably. Raises OSError."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    write_durably(draft, content, like=path)
    draft.rename(path)
    fsync_directory(path.parent)


def copy_owner(path: Path, descriptor: int) -> None:
    """Give an open file the owner of another file, or of its directory if that is missing. Raises OSError.

    Otherwise the service could not read the files of a command that root ran.
    """
    if os.geteuid() == 0:
        owner = (path if path.exists() else path.parent).stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def fsync_directory(directory: Path) -> None:
    """Sync the entries of a directory to disk. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_once(path: Path, content: bytes) -> None:
    """Write the file atomically and durably unless it exists. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked_directory(path.parent):
        if not path.exists():
            # One process at a time writes here, so an existing draft is a crash's leftover.
            replace_durably(path, content)


def remove_drafts(directory: Path) -> None:
    """Create the directory, or remove the drafts that a crash left in it. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked_directory(directory):
        for draft in directory.glob(".*.draft"):
            draft.unlink()


def write_durably(path: Path, content: bytes, *, like: Path | None = None) -> None:
    """Create the file with mode 0600 and sync it to disk. Raises FileExistsError, OSError.

    like: the file whose owner it gets.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        copy_owner(like or path.parent, file.fileno())
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def locked_directory(path: Path) -> Iterator[int]:
    """Lock the directory; a crash releases the lock. Yields its descriptor, for fsync."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked_sidecar(path: Path) -> Iterator[bool]:
    """Lock a file that gets replaced, by a lock file beside it; False: another process holds it.

    A crash releases the lock. Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
