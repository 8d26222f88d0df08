"""Files written atomically and durably, and locks, accessible by the service's user only, with any umask."""

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_LOCK = ".lock"
_TRIES = 50
_OTHERS = 0o077


def make_directory(directory: Path) -> None:
    """Create the directory and its missing parents with mode 0700. Raises OSError."""
    for path in (*reversed(directory.parents), directory):
        path.mkdir(mode=0o700, exist_ok=True)


def open_own(path: Path, like: Path) -> int:
    """Open a file of the service for reading and writing, with mode 0600; it is created if it is missing.

    like: the file whose owner a new one gets. A link is not followed. A file of another user is refused: that user could hold
    a lock on it forever, or read it. Raises OSError.
    """
    descriptor = _open(path, os.O_RDWR | os.O_CREAT)
    try:
        if os.fstat(descriptor).st_mode & _OTHERS:
            os.fchmod(descriptor, 0o600)
        copy_owner(like, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_own(path: Path, limit: int) -> bytes:
    """Read a file of the service in a directory where others may create files.

    limit: the maximum size in bytes. Raises FileNotFoundError, and OSError for a link, a pipe or a file of another user.
    """
    with os.fdopen(_open(path, os.O_RDONLY), "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"is larger than {limit} bytes: remove it", str(path))
    return content


def _open(path: Path, flags: int) -> int:
    """Open a file unless it is a link, a hard link, no regular file, or belongs to another user. Raises OSError."""
    try:
        # O_NONBLOCK: a pipe would wait for its other end.
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PermissionError(errno.EPERM, "is a symbolic link: remove it", str(path)) from None
        raise
    found = os.fstat(descriptor)
    # The owner of the directory can replace the file anyway.
    owners = {0, os.geteuid(), path.parent.stat().st_uid}
    if found.st_uid not in owners or not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise PermissionError(errno.EPERM, "belongs to another user or is no file: remove it", str(path))
    return descriptor


def read_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return the content of the file, which is created if it is missing.

    If several processes start concurrently, one creates the file, atomically. Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    make_directory(path.parent)
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
    make_directory(path.parent)
    with locked_directory(path.parent):
        if not path.exists():
            # One process at a time writes here, so an existing draft is a crash's leftover.
            replace_durably(path, content)


def remove_drafts(directory: Path) -> None:
    """Create the directory, or remove the drafts that a crash left in it. Raises OSError."""
    make_directory(directory)
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
def locked_directory(path: Path) -> Iterator[None]:
    """Lock the directory by the file `.lock` in it; a crash releases the lock. Raises OSError.

    Processes of release 1.0 lock the directory itself, so that lock is taken, too, if it is free within a second: any user
    who can read the directory can hold it forever.
    """
    with contextlib.ExitStack() as stack:
        own = open_own(path / _LOCK, path)
        stack.callback(os.close, own)
        fcntl.flock(own, fcntl.LOCK_EX)
        directory = os.open(path, os.O_RDONLY)
        stack.callback(os.close, directory)
        _lock_within_a_second(directory)
        yield


def _lock_within_a_second(directory: int) -> None:
    for _ in range(_TRIES):
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(1 / _TRIES)
        except OSError:  # as on NFS, which locks files only
            return
        else:
            return


@contextlib.contextmanager
def locked_sidecar(path: Path) -> Iterator[bool]:
    """Lock a file that gets replaced, by a lock file beside it; False: another process holds it.

    A crash releases the lock. Raises OSError.
    """
    make_directory(path.parent)
    with locked_file(path.with_name(f".{path.name}.lock"), path) as is_locked:
        yield is_locked


@contextlib.contextmanager
def locked_file(path: Path, like: Path) -> Iterator[bool]:
    """Lock a lock file; False: another process holds it. like: see `open_own`. Raises OSError."""
    descriptor = open_own(path, like)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)
