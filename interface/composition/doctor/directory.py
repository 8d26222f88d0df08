"""A check of a directory."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from interface.cli.operations.commands import Finding, Health
from interface.settings import Settings


def writable(check: str, directory: Path) -> Finding:
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
            check,
            Health.BAD,
            f"{directory}: {error.strerror}",
            f"give the service ({user}) write access",
        )
    return Finding(check, Health.GOOD, f"{directory} can be written")


def check_checkpoints(settings: Settings) -> Iterator[Finding]:
    """Check the directory of checkpoints."""
    if settings.checkpoint_dir:
        yield writable("checkpoint directory", settings.checkpoint_dir)
