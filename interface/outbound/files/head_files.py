"""The saved trees of stream heads, a file per client."""

import hashlib
import logging
from pathlib import Path
from typing import BinaryIO

from interface.outbound.files.durable_file import locked_directory, make_directory, replace_durably

log = logging.getLogger(__name__)


class HeadFiles:
    """The files in a directory, named by the digest of the client. Implements the port SavedTrees."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def open(self, client_ext_id: str) -> BinaryIO | None:
        """Open the file of a client for reading; None: it has none that can be read."""
        try:
            return self._path(client_ext_id).open("rb", buffering=0)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("the saved tree of stream heads cannot be read: %s", error)
            return None

    def save(self, client_ext_id: str, content: bytes) -> None:
        """Replace the file of a client; if that fails, log a warning."""
        try:
            make_directory(self._directory)
            with locked_directory(self._directory):
                replace_durably(self._path(client_ext_id), content)
        except OSError as error:
            log.warning("the tree of stream heads cannot be saved: %s", error)

    def _path(self, client_ext_id: str) -> Path:
        return self._directory / hashlib.sha256(client_ext_id.encode()).hexdigest()
