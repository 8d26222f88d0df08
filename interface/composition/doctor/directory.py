"""A check of a directory."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from interface.cli.operations.commands import Finding, Health
from interface.settings import Settings


def writable(directory: Path) -> Finding:
    """Return whether the service could write to a directory, without creating it."""
    existing = directory
    while not existing.exists():
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        user = f"uid {os.geteuid()}"
        return Finding(
            "directory", Health.BAD, f"{directory}: {error.strerror}", f"let the service ({user}) write there"
        )
    return Finding("directory", Health.GOOD, f"{directory} can be written")


def check_checkpoints(settings: Settings) -> Iterator[Finding]:
    """Check the directory of checkpoints."""
    if settings.checkpoint_dir:
        yield writable(settings.checkpoint_dir)
