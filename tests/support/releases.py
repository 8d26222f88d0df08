"""The programs of earlier releases, taken from the history of the repository."""

import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.server import ROOT

# The commit of each release, oldest first. Append a line when a release is made.
RELEASES: dict[str, str] = {"1.0.0": "10ddc8482c2f"}


@contextmanager
def program_of(commit: str) -> Iterator[Path]:
    """Yield a directory with the program of a commit; it is removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix="tickets-release-"))
    try:
        archive = subprocess.run(
            ["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as content:
            content.extractall(directory, filter="data")
        yield directory
    finally:
        shutil.rmtree(directory)
