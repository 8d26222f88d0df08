"""Who else may read or replace what must be secret, or what the service trusts."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

_OTHERS, _GROUP = 0o007, 0o070
_OTHERS_WRITE, _GROUP_WRITE = 0o002, 0o020


def readable_by_others(paths: Iterable[Path]) -> Iterator[str]:
    """Yield for each file that others may read, or whose directory they may change, what to do about it.

    What a group may read is left to whoever gave it to us: an orchestrator mounts secrets as root:group, 0440.
    """
    for path in paths:
        try:
            found, parent = path.stat(), path.parent.stat()
        except OSError:
            continue
        if _is_open(found, _OTHERS, _GROUP):
            yield f"others may read {path}: chmod 600 {path}"
        if _may_be_emptied(path.parent, parent):
            yield f"others may replace what is in {path.parent}: chmod 700 {path.parent}"


def writable_by_others(paths: Iterable[Path]) -> Iterator[str]:
    """Yield for each file or directory that others may change or replace, what to do about it. All may read them."""
    for path in paths:
        try:
            found, parent = path.stat(), path.parent.stat()
        except OSError:
            continue
        if _is_open(found, _OTHERS_WRITE, _GROUP_WRITE) and not _is_read_only(path):
            yield f"others may change {path}: chmod go-w {path}"
        if _may_be_emptied(path.parent, parent):
            yield f"others may replace what is in {path.parent}: chmod go-w {path.parent}"


def writable_directories(directories: Iterable[Path]) -> Iterator[str]:
    """Yield for each directory into which others may put something, what to do about it.

    What the service itself puts there only it may read, so they may see what is there.
    """
    for path in directories:
        try:
            found = path.stat()
        except OSError:
            continue
        if _is_open(found, _OTHERS_WRITE, _GROUP_WRITE):
            yield f"others may put something into {path}: chmod 700 {path}"


def _may_be_emptied(directory: Path, found: os.stat_result) -> bool:
    sticky = found.st_mode & stat.S_ISVTX
    return not sticky and _is_open(found, _OTHERS_WRITE, _GROUP_WRITE) and not _is_read_only(directory)


def _is_read_only(path: Path) -> bool:
    """Tell whether it is mounted so: an orchestrator mounts what is no secret as root, 0777, and for reading only."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _is_open(found: os.stat_result, others: int, group: int) -> bool:
    mine = found.st_uid == os.geteuid()
    return bool(found.st_mode & (others | (group if mine else 0)))
