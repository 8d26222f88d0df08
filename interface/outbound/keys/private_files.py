"""Checks the permissions of secret files, trusted files and output directories."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

_OTHERS, _GROUP = 0o007, 0o070
_OTHERS_WRITE, _GROUP_WRITE = 0o002, 0o020


def readable_by_others(paths: Iterable[Path]) -> Iterator[str]:
    """Yield a finding with a remedy for each file that others can read, or whose directory they can change.

    A file that only its group can read is accepted if another user owns it: orchestrators mount secrets as root:group, 0440.
    """
    for path in paths:
        try:
            found, parent = path.stat(), path.parent.stat()
        except OSError:
            continue
        if _is_open(found, _OTHERS, _GROUP):
            yield f"other users can read {path}: chmod 600 {path}"
        if _may_be_emptied(path.parent, parent):
            yield f"other users can replace files in {path.parent}: chmod 700 {path.parent}"


def writable_by_others(paths: Iterable[Path]) -> Iterator[str]:
    """Yield a finding with a remedy for each file or directory that others can change or replace."""
    for path in paths:
        try:
            found, parent = path.stat(), path.parent.stat()
        except OSError:
            continue
        if _is_open(found, _OTHERS_WRITE, _GROUP_WRITE) and not _is_read_only(path):
            yield f"other users can change {path}: chmod go-w {path}"
        if _may_be_emptied(path.parent, parent):
            yield f"other users can replace files in {path.parent}: chmod go-w {path.parent}"


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


def _may_be_emptied(directory: Path, found: os.stat_result) -> bool:
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
