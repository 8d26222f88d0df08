"""Files that are whole or not there, on the disk, and readable by the service's own user only."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path


def read_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return the content of the file, made first if there is none.

    Several processes may start at once: one makes the file, and it appears whole. Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked_directory(path.parent):
        if not path.exists():
            replace_durably(path, make())
    return path.read_bytes()


def replace_durably(path: Path, content: bytes) -> None:
    """Write the file anew and bring it to the disk; until then it is what it was. Raises OSError."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    write_durably(draft, content, like=path)
    draft.rename(path)
    fsync_directory(path.parent)


def copy_owner(path: Path, descriptor: int) -> None:
    """Give an open file to the owner of another, or of its directory where that is not there. Raises OSError.

    Where root runs a command of the service, the service could not read what it leaves behind.
    """
    if os.geteuid() == 0:
        owner = (path if path.exists() else path.parent).stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def fsync_directory(directory: Path) -> None:
    """Bring to the disk which files are in a directory. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_once(path: Path, content: bytes) -> None:
    """Bring the file to the disk unless it is there already; it appears whole or not at all. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked_directory(path.parent):
        if not path.exists():
            # One process at a time writes here, so a draft is what a crash left over.
            replace_durably(path, content)


def remove_drafts(directory: Path) -> None:
    """Make the directory, or remove what a crash left over in it. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked_directory(directory):
        for draft in directory.glob(".*.draft"):
            draft.unlink()


def write_durably(path: Path, content: bytes, *, like: Path | None = None) -> None:
    """Create the file with mode 0600 and bring it to the disk. Raises FileExistsError, OSError.

    like: whose owner it gets.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        copy_owner(like or path.parent, file.fileno())
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def locked_directory(path: Path) -> Iterator[int]:
    """Keep other processes out of the directory; a crash lets go. Yields its descriptor, to bring it to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked_sidecar(path: Path) -> Iterator[bool]:
    """Keep other processes off a file that is written anew, by a lock beside it; False: another holds it.

    A crash lets go. Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
