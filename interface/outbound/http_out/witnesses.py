"""Witnesses: they store checkpoints outside the operator's control."""

import asyncio
import hashlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from application.record.ledger import Checkpoint
from interface.lazy import lazy
from interface.outbound.files.durable_file import make_directory, read_own, replace_durably, write_once
from interface.outbound.http_out.outgoing_http import request_once

if TYPE_CHECKING:
    import rfc3161_client
    from cryptography import x509
else:
    rfc3161_client, x509 = lazy("rfc3161_client"), lazy("cryptography.x509")

_TIMEOUT_SECONDS = 10
_MAX_RESPONSE_BYTES = 1024 * 1024
# Of `<client>-<size>`: the draft of such a file has the longest name that a file system stores.
_LONGEST_NAME = 237
_GRANTED = (0, 1)  # PKIStatus: granted, granted with modifications


class CheckpointDirectory:
    """Writes each checkpoint as `<client>-<size>.checkpoint` into a directory; existing files are never replaced.

    A client with an id that is too long for a file name is represented by the SHA-256 of its id.
    """

    is_remote = False

    def __init__(self, directory: Path) -> None:
        make_directory(directory)
        self._directory = directory

    def send(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint to disk. Raises OSError."""
        self.file_of(checkpoint)

    def file_of(self, checkpoint: Checkpoint) -> Path:
        """Return the file of the checkpoint, which is written unless it exists. Raises OSError."""
        file = self._directory / f"{_name(checkpoint, self._directory)}.checkpoint"
        write_once(file, checkpoint.note.encode())
        return file


class CheckpointWebhook:
    """Posts each checkpoint to a URL, as text."""

    is_remote = True

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, checkpoint: Checkpoint) -> None:
        """Send the checkpoint. Raises OSError unless the response is 2xx."""
        _post(self._url, checkpoint.note.encode(), "text/plain; charset=utf-8")


class TimeStampAuthority:
    """Requests a time stamp (RFC 3161) for each checkpoint and stores it as `<client>-<size>.tsr` beside its file.

    The stamped bytes are those of the file, since another note with the same root may be stored there. ca_file: the
    certificates (PEM) that the signature of the stamp must lead to; without it, the signature is not verified. Raises
    OSError, ValueError.
    """

    is_remote = True

    def __init__(self, url: str, directory: Path, ca_file: Path | None = None) -> None:
        self._url = url
        self._checkpoints = CheckpointDirectory(directory)
        self._roots = x509.load_pem_x509_certificates(ca_file.read_bytes()) if ca_file else []

    def send(self, checkpoint: Checkpoint) -> None:
        """Store the time stamp of the checkpoint. Raises OSError if the authority returns no valid one."""
        file = self._checkpoints.file_of(checkpoint)
        note, stamp = read_own(file, _MAX_RESPONSE_BYTES), file.with_suffix(".tsr")
        with suppress(FileNotFoundError):
            if not self._fault(read_own(stamp, _MAX_RESPONSE_BYTES), note):
                return
        request = (
            rfc3161_client.TimestampRequestBuilder()
            .data(note)
            .hash_algorithm(rfc3161_client.HashAlgorithm.SHA256)
            .nonce(nonce=True)
            .build()
        )
        response = _post(self._url, request.as_bytes(), "application/timestamp-query")
        if fault := self._fault(response, note, request.nonce):
            raise OSError(f"invalid response of the time stamp authority: {fault}")
        replace_durably(stamp, response)

    def _fault(self, response: bytes, note: bytes, nonce: int | None = None) -> str | None:
        """Return the reason why a response is not the time stamp of a note; None: it is. nonce: of a new request."""
        try:
            stamp = rfc3161_client.decode_timestamp_response(response)
            if stamp.status not in _GRANTED:
                return f"status {stamp.status}"
            if stamp.tst_info.message_imprint.message != hashlib.sha256(note).digest():
                return "it is the stamp of another checkpoint"
            if nonce is not None and stamp.tst_info.nonce != nonce:
                return "it is the response to another request"
            if self._roots:
                rfc3161_client.VerifierBuilder(roots=self._roots).build().verify_message(stamp, note)
        except Exception as error:  # noqa: BLE001 - a parser can raise any exception for a foreign response
            return str(error) or type(error).__name__
        return None


def _name(checkpoint: Checkpoint, directory: Path) -> str:
    """Return the name of a checkpoint's files.

    After a restore, another checkpoint of the same size with a different root may exist: both are kept.
    """
    name = _short(checkpoint.client_ext_id, f"-{checkpoint.size:012}")
    try:
        known = read_own(directory / f"{name}.checkpoint", _MAX_RESPONSE_BYTES)
    except FileNotFoundError:
        return name
    if _root_line(known) != _root_line(checkpoint.note.encode()):
        return _short(checkpoint.client_ext_id, f"-{checkpoint.size:012}-{checkpoint.root.hex()[:16]}")
    return name


def _short(client_ext_id: str, rest: str) -> str:
    name = quote(client_ext_id, safe="") + rest
    if name.startswith("."):
        name = f"%2E{name[1:]}"  # a hidden file, which `ls` and `cp *` leave out
    return name if len(name) <= _LONGEST_NAME else hashlib.sha256(client_ext_id.encode()).hexdigest() + rest


def _root_line(note: bytes) -> list[bytes]:
    return note.split(b"\n")[2:3]


def _post(url: str, content: bytes, media_type: str) -> bytes:
    sending = request_once(
        "POST",
        url,
        {"Content-Type": media_type},
        content,
        timeout_seconds=_TIMEOUT_SECONDS,
        max_response_bytes=_MAX_RESPONSE_BYTES,
    )
    try:
        return asyncio.run(sending)
    except OSError as error:
        raise OSError(f"{urlsplit(url).hostname}: {error}") from None
