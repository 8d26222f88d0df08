"""Who else may read or replace what must be secret."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

_OTHERS, _GROUP = 0o007, 0o070
_OTHERS_WRITE, _GROUP_WRITE = 0o002, 0o020


def too_open(paths: Iterable[Path]) -> Iterator[str]:
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
        sticky = parent.st_mode & stat.S_ISVTX
        if not sticky and _is_open(parent, _OTHERS_WRITE, _GROUP_WRITE):
            yield f"others may replace what is in {path.parent}: chmod 700 {path.parent}"


def _is_open(found: os.stat_result, others: int, group: int) -> bool:
    mine = found.st_uid == os.geteuid()
    return bool(found.st_mode & (others | (group if mine else 0)))
