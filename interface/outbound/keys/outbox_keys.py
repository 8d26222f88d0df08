"""Where the keys of the outbox come from: the first seals, and each of them opens."""

import base64
import logging
import secrets
import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from interface.outbound.files.durable_file import locked_directory, read_or_create, replace_durably

KEY_BYTES = 32
_COMMAND_SECONDS = 30

log = logging.getLogger(__name__)


class OutboxKeyFile:
    """Keys of 32 bytes in a file of mode 0600, one behind the other.

    It is read again when it changes, so a rotation reaches processes that run. Where there is none when keys are first
    asked for, it is made with one, unless check_that_none_is_lost raises ValueError.
    """

    def __init__(self, path: Path, check_that_none_is_lost: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._check_that_none_is_lost = check_that_none_is_lost
        self._read_at: tuple[int, int, int] | None = None
        self._keys: Sequence[bytes] = ()
        self._fault = ""

    def __repr__(self) -> str:
        return "OutboxKeyFile(***)"

    def __call__(self) -> Sequence[bytes]:
        """Return the keys as they are now; the last ones where the file is gone, or cannot be read, which is logged.

        Raises OSError, ValueError where there are none.
        """
        if not self._keys:
            self._make_if_there_is_none()
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
                log.warning("%s cannot be read, the keys read before go on: %s", self._path, fault)
        return self._keys

    def check(self) -> None:
        """Read the file. Raises OSError, ValueError where it is not what it should be, whatever was read before."""
        _parts(self._path.read_bytes())

    def _make_if_there_is_none(self) -> None:
        if not self._path.exists():
            self._check_that_none_is_lost()
            read_or_create(self._path, _new_key)

    def rotate(self) -> None:
        """Put a new key before the one in force, which still opens; the ones before that go. Raises OSError."""
        with locked_directory(self._path.parent):
            replace_durably(self._path, _new_key() + self()[0])


def parse_outbox_keys(text: str) -> Sequence[bytes]:
    """Return the keys of a text: 32 bytes in base64 each, parted by commas or blanks. Raises ValueError."""
    try:
        keys = [base64.b64decode(part, validate=True) for part in text.replace(",", " ").split()]
    except ValueError:
        keys = []
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise ValueError(f"must be {KEY_BYTES} bytes in base64: openssl rand -base64 {KEY_BYTES}")
    return keys


def outbox_keys_of(command: str) -> Sequence[bytes]:
    """Return the keys that a command prints. Raises ValueError, which does not repeat what it prints."""
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command, and without a shell
            shlex.split(command), stdout=subprocess.PIPE, timeout=_COMMAND_SECONDS, check=True, text=True
        )
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise ValueError(f"the command for the outbox key failed: {_reason(error)}") from None
    try:
        return parse_outbox_keys(done.stdout)
    except ValueError as error:
        raise ValueError(f"what the command for the outbox key prints {error}") from None


def _reason(error: Exception) -> str:
    match error:
        case subprocess.CalledProcessError():
            return f"it ended with {error.returncode}"
        case subprocess.TimeoutExpired():
            return f"it did not end within {_COMMAND_SECONDS} seconds"
        case OSError():
            return str(error.strerror)
        case UnicodeDecodeError():
            return "what it prints is no text"
        case _:
            return "it cannot be run"


def _parts(content: bytes) -> Sequence[bytes]:
    if not content or len(content) % KEY_BYTES:
        raise ValueError(f"an outbox key must have {KEY_BYTES} bytes; the file has {len(content)}")
    return [content[begin : begin + KEY_BYTES] for begin in range(0, len(content), KEY_BYTES)]


def _new_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)
