"""Where checkpoints go so that the operator of this service cannot change them."""

import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response

from application.record.ledger import Checkpoint
from interface.outbound.files.durable_file import locked_directory, write_durably

_TIMEOUT_SECONDS = 10
_LONGEST_ANSWER = 64 * 1024


class CheckpointDirectory:
    """Writes each checkpoint as `<client>-<size>.checkpoint` into a directory; what is there is never written anew."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory

    def send(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint and bring it to the disk. Raises OSError."""
        keep(self._directory, f"{_name(checkpoint, self._directory)}.checkpoint", checkpoint.note.encode())


class CheckpointWebhook:
    """Sends each checkpoint to a URL, by POST, as text."""

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, checkpoint: Checkpoint) -> None:
        """Send the checkpoint. Raises OSError unless it is taken with a 2xx."""
        _post(self._url, checkpoint.note.encode(), "text/plain; charset=utf-8")


class TimeStampAuthority:
    """Has each checkpoint stamped with the time (RFC 3161), and keeps the stamps as `<client>-<size>.tsr`."""

    def __init__(self, url: str, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._url = url
        self._directory = directory

    def send(self, checkpoint: Checkpoint) -> None:
        """Have the checkpoint stamped. Raises OSError where that is refused."""
        request = (
            TimestampRequestBuilder()
            .data(checkpoint.note.encode())
            .hash_algorithm(HashAlgorithm.SHA256)
            .nonce(nonce=True)
            .build()
        )
        answer = _post(self._url, request.as_bytes(), "application/timestamp-query")
        try:
            stamp = decode_timestamp_response(answer)
            granted = stamp.status == 0 and (
                stamp.tst_info.message_imprint.message == request.message_imprint.message
                and stamp.tst_info.nonce == request.nonce
            )
        except ValueError as error:
            raise OSError(f"the time stamp authority answered nonsense: {error}") from error
        if not granted:
            raise OSError("the time stamp authority did not stamp the checkpoint")
        keep(self._directory, f"{_name(checkpoint, self._directory)}.tsr", answer)


def keep(directory: Path, name: str, content: bytes) -> None:
    """Write a file that appears whole, and stays as it is. Raises OSError."""
    path = directory / name
    with locked_directory(directory):
        if not path.exists():
            draft = directory / f".{name}.draft"
            draft.unlink(missing_ok=True)
            write_durably(draft, content)
            draft.rename(path)


def _name(checkpoint: Checkpoint, directory: Path) -> str:
    """Return how a checkpoint's files are called.

    After a restore there may be one of the same size already that says something else: both are kept.
    """
    name = f"{quote(checkpoint.client_ext_id, safe='')}-{checkpoint.size:012}"
    known = directory / f"{name}.checkpoint"
    if known.exists() and _root_line(known.read_text()) != _root_line(checkpoint.note):
        return f"{name}-{checkpoint.root.hex()[:16]}"
    return name


def _root_line(note: str) -> list[str]:
    return note.split("\n")[2:3]


def _post(url: str, content: bytes, media_type: str) -> bytes:
    request = urllib.request.Request(url, content, {"Content-Type": media_type}, method="POST")  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
            return bytes(answer.read(_LONGEST_ANSWER))
    except urllib.error.URLError as error:
        raise OSError(f"{url.partition('?')[0]}: {error}") from error
