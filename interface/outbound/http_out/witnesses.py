"""Witnesses: they store checkpoints outside the operator's control."""

import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response

from application.record.ledger import Checkpoint
from interface.outbound.files.durable_file import locked_directory, write_durably

_TIMEOUT_SECONDS = 10
_LONGEST_RESPONSE = 64 * 1024


class CheckpointDirectory:
    """Writes each checkpoint as `<client>-<size>.checkpoint` into a directory; existing files are never replaced."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory

    def send(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint to disk. Raises OSError."""
        keep(self._directory, f"{_name(checkpoint, self._directory)}.checkpoint", checkpoint.note.encode())


class CheckpointWebhook:
    """Posts each checkpoint to a URL, as text."""

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, checkpoint: Checkpoint) -> None:
        """Send the checkpoint. Raises OSError unless the response is 2xx."""
        _post(self._url, checkpoint.note.encode(), "text/plain; charset=utf-8")


class TimeStampAuthority:
    """Requests a time stamp (RFC 3161) for each checkpoint and stores it as `<client>-<size>.tsr`."""

    def __init__(self, url: str, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._url = url
        self._directory = directory

    def send(self, checkpoint: Checkpoint) -> None:
        """Request the time stamp of the checkpoint. Raises OSError if the authority rejects the request."""
        request = (
            TimestampRequestBuilder()
            .data(checkpoint.note.encode())
            .hash_algorithm(HashAlgorithm.SHA256)
            .nonce(nonce=True)
            .build()
        )
        response = _post(self._url, request.as_bytes(), "application/timestamp-query")
        try:
            stamp = decode_timestamp_response(response)
            granted = stamp.status == 0 and (
                stamp.tst_info.message_imprint.message == request.message_imprint.message
                and stamp.tst_info.nonce == request.nonce
            )
        except ValueError as error:
            raise OSError(f"invalid response of the time stamp authority: {error}") from error
        if not granted:
            raise OSError("the time stamp authority did not stamp the checkpoint")
        keep(self._directory, f"{_name(checkpoint, self._directory)}.tsr", response)


def keep(directory: Path, name: str, content: bytes) -> None:
    """Write a file atomically unless it exists. Raises OSError."""
    path = directory / name
    with locked_directory(directory):
        if not path.exists():
            draft = directory / f".{name}.draft"
            draft.unlink(missing_ok=True)
            write_durably(draft, content)
            draft.rename(path)


def _name(checkpoint: Checkpoint, directory: Path) -> str:
    """Return the name of a checkpoint's files.

    After a restore, another checkpoint of the same size with a different root may exist: both are kept.
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
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
            return bytes(response.read(_LONGEST_RESPONSE))
    except urllib.error.URLError as error:
        raise OSError(f"{url.partition('?')[0]}: {error}") from error
