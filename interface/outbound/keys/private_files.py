"""Checks the permissions of secret files, trusted files and output directories."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_OTHERS, _GROUP = 0o007, 0o070
_OTHERS_WRITE, _GROUP_WRITE = 0o002, 0o020


def readable_by_others(paths: Iterable[Path]) -> Iterator[str]:
    """Yield a finding with a remedy for each file that others can read, or whose directory they can change.

    A file that only its group can read is accepted if another user owns it: orchestrators mount secrets as root:group, 0440.
    """
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            continue
        if _is_open(found, _OTHERS, _GROUP):
            yield f"other users can read {path}: chmod 600 {path}"
        for directory in filter(_may_be_emptied, _directories(path)):
            yield f"other users can replace files in {directory}: chmod 700 {directory}"


def writable_by_others(paths: Iterable[Path]) -> Iterator[str]:
    """Yield a finding with a remedy for each file or directory that others can change or replace."""
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            continue
        if _is_open(found, _OTHERS_WRITE, _GROUP_WRITE) and not _is_read_only(path):
            yield f"other users can change {path}: chmod go-w {path}"
        for directory in filter(_may_be_emptied, _directories(path)):
            yield f"other users can replace files in {directory}: chmod go-w {directory}"


def writable_directories(directories: Iterable[Path]) -> Iterator[str]:
    """Yield a finding with a remedy for each directory in which others can create files.

    Others may list it: the files that the service writes there are readable by itself only.
    """
    for path in directories:
        try:
            found = path.stat()
        except OSError:
            continue
        if _is_open(found, _OTHERS_WRITE, _GROUP_WRITE):
            yield f"other users can create files in {path}: chmod 700 {path}"


def listable_by_others(directory: Path) -> Iterator[str]:
    """Yield a finding with a remedy if others can list the directory. That of another user is accepted, such as a volume."""
    with suppress(OSError):
        found = directory.stat()
        if found.st_uid == os.geteuid() and _is_open(found, _OTHERS, _GROUP):
            yield f"other users can list {directory}, as release 1.0 created it: chmod 700 {directory}"


def _directories(path: Path) -> Iterator[Path]:
    """Yield the directory of an existing file and, if it is a symbolic link, the directory of each target."""
    yield path.parent
    while path.is_symlink():
        path = path.parent / path.readlink()
        yield path.parent


def _may_be_emptied(directory: Path) -> bool:
    try:
        found = directory.stat()
    except OSError:
        return False
    sticky = found.st_mode & stat.S_ISVTX
    return not sticky and _is_open(found, _OTHERS_WRITE, _GROUP_WRITE) and not _is_read_only(directory)


def _is_read_only(path: Path) -> bool:
    """Return whether it is on a read-only mount: orchestrators mount configuration files so, as root with mode 0777."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _is_open(found: os.stat_result, others: int, group: int) -> bool:
    mine = found.st_uid == os.geteuid()
    return bool(found.st_mode & (others | (group if mine else 0)))
