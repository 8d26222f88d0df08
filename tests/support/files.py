"""The files of a directory of the service."""

from pathlib import Path


def files_in(directory: Path) -> list[Path]:
    """Return the entries except the lock file, also drafts."""
    return [path for path in directory.iterdir() if path.name != ".lock"]
