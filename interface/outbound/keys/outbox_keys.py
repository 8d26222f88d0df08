"""Sources of the outbox keys: the first encrypts, all decrypt."""

import base64
import logging
import secrets
import shlex
import subprocess
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from time import monotonic

from interface.outbound.files.durable_file import locked_directory, read_or_create, replace_durably

KEY_BYTES = 32
_COMMAND_SECONDS = 30
# A running process uses a key for so long after a rotation.
LOOK_SECONDS = 1.0

log = logging.getLogger(__name__)


class OutboxKeyFile:
    """Concatenated keys of 32 bytes in a file of mode 0600.

    The file is reloaded when it changes, so a rotation reaches running processes within a second. If it is missing on first
    use, it is created with one key, unless check_that_none_is_lost raises ValueError. clock: monotonic, in seconds.
    """

    def __init__(
        self,
        path: Path,
        check_that_none_is_lost: Callable[[], None] = lambda: None,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._path = path
        self._check_that_none_is_lost = check_that_none_is_lost
        self._clock = clock
        self._looked = -inf
        self._read_at: tuple[int, int, int] | None = None
        self._keys: Sequence[bytes] = ()
        self._fault = ""

    def __repr__(self) -> str:
        return "OutboxKeyFile(***)"

    def __call__(self) -> Sequence[bytes]:
        """Return the keys, as of the last second: each request needs them, and a look at the file is a system call.

        Raises OSError, ValueError if no keys were read before.
        """
        return self._keys if self._clock() - self._looked < LOOK_SECONDS else self.current()

    def current(self) -> Sequence[bytes]:
        """Look at the file and return its keys; if it is missing or unreadable, log that and return the last ones.

        Raises OSError, ValueError if no keys were read before.
        """
        if not self._keys:
            self._create_if_missing()
        try:
            status = self._path.stat()
            found = (status.st_mtime_ns, status.st_ino, status.st_size)
            if found != self._read_at:
                self._keys, self._read_at = _parts(self._path.read_bytes()), found
            self._fault = ""
        except (OSError, ValueError) as error:
            if not self._keys:
                raise ValueError(f"{self._path}: {error}") from None
            if self._fault != (fault := str(error)):
                self._fault = fault
                log.warning("cannot read %s, using the keys read before: %s", self._path, fault)
        self._looked = self._clock()
        return self._keys

    def check(self) -> None:
        """Read the file. Raises OSError, ValueError if it is missing or invalid, even after a successful read."""
        _parts(self._path.read_bytes())

    def _create_if_missing(self) -> None:
        if not self._path.exists():
            self._check_that_none_is_lost()
            read_or_create(self._path, _new_key)

    def rotate(self) -> None:
        """Add a new first key; keep the current key for decryption, remove older ones. Raises OSError."""
        with locked_directory(self._path.parent):
            replace_durably(self._path, _new_key() + self.current()[0])
        self.current()


def parse_outbox_keys(text: str) -> Sequence[bytes]:
    """Return the keys of a text: 32 bytes in base64 each, separated by commas or blanks. Raises ValueError."""
    try:
        keys = [base64.b64decode(part, validate=True) for part in text.replace(",", " ").split()]
    except ValueError:
        keys = []
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise ValueError(f"must be {KEY_BYTES} bytes in base64: openssl rand -base64 {KEY_BYTES}")
    return keys


def outbox_keys_of(command: str) -> Sequence[bytes]:
    """Return the keys that a command prints. Raises ValueError, which does not contain the output."""
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command, and without a shell
            shlex.split(command), stdout=subprocess.PIPE, timeout=_COMMAND_SECONDS, check=True, text=True
        )
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise ValueError(f"the command for the outbox key failed: {_reason(error)}") from None
    try:
        return parse_outbox_keys(done.stdout)
    except ValueError as error:
        raise ValueError(f"the output of the command for the outbox key {error}") from None


def _reason(error: Exception) -> str:
    match error:
        case subprocess.CalledProcessError():
            return f"exit status {error.returncode}"
        case subprocess.TimeoutExpired():
            return f"no end within {_COMMAND_SECONDS} seconds"
        case OSError():
            return str(error.strerror)
        case UnicodeDecodeError():
            return "its output is not text"
        case _:
            return "it cannot be executed"


def _parts(content: bytes) -> Sequence[bytes]:
    if not content or len(content) % KEY_BYTES:
        raise ValueError(f"an outbox key has {KEY_BYTES} bytes; the file has {len(content)}")
    return [content[begin : begin + KEY_BYTES] for begin in range(0, len(content), KEY_BYTES)]


def _new_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)
