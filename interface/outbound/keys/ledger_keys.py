"""The Ed25519 keys that sign checkpoints and evidence, as C2SP signed notes."""

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from application.record.checkpoint import PublishedKey, parse_checkpoint_text
from application.record.ledger import Checkpoint
from application.shared.errors import KeyMissing
from interface.outbound.files.durable_file import locked_directory, make_directory, replace_durably
from interface.outbound.keys.private_key import parse_private_key
from interface.verify_evidence import Wrong, parse_checkpoint, parse_keys

_ED25519 = b"\x01"
_FILE = re.compile(r"(\d{8}T\d{6}Z)\.pem")
_FILE_DATE = "%Y%m%dT%H%M%SZ"
# Within this time, a new key reaches every machine, so that each can check the rows that another one has sealed.
_SEALS_AFTER = timedelta(hours=1)


class LedgerKeys:
    """The keys in a directory, one file each, named by their creation time; the newest is current.

    For `overlap` after a rotation the previous key signs, too, so that verifiers have time to adopt the new one. An empty
    directory gets a first key, from one of the starting processes. A key file with another name is an error: it may
    contain the current key. Raises OSError, ValueError.
    """

    def __init__(
        self, directory: Path, name: str, *, clock: Callable[[], datetime], overlap: timedelta
    ) -> None:
        if not name or re.search(r"[\s+]", name):
            raise ValueError(f"invalid key name {name!r}: blanks and plus signs are not allowed")
        self._directory, self._name, self._clock, self._overlap = directory, name, clock, overlap
        if not ledger_key_files(directory):
            self._make(only_the_first=True)

    @property
    def name(self) -> str:
        """The name of the keys."""
        return self._name

    def sign(self, text: str) -> str:
        """Return the note: the text, an empty line, and a signature line per current key. Raises KeyMissing."""
        lines = [_signature_line(self._name, key, text) for key in self._current_keys()]
        return f"{text}\n{''.join(lines)}"

    def public(self) -> list[tuple[str, str]]:
        """Return the creation time and the verifier key of each key, newest first."""
        return public_ledger_keys(self._directory, self._name)

    def published(self) -> list[PublishedKey]:
        """Return each key with its validity and fingerprint, newest first. Raises OSError, ValueError."""
        found, until = list[PublishedKey](), None
        newer: datetime | None = None
        for made, key in self.public():
            since = datetime.strptime(made, _FILE_DATE).replace(tzinfo=UTC)
            if newer:
                # Only the current and the previous key sign.
                until = min(filter(None, [newer + self._overlap, found[-2].since if found[1:] else None]))
            found.append(PublishedKey(key, fingerprint(key), since, until))
            newer = since
        return found

    def row_keys(self) -> list[bytes]:
        """Return the secret of each key for the seals of rows; the first seals. Raises OSError, ValueError, KeyMissing.

        The newest key seals from an hour after its creation, and the oldest before.
        """
        files = _named_as_keys(_files_in(self._directory))
        if not files:
            raise KeyMissing(f"no key in {self._directory}")
        settled = [file for file in files if self._clock() - _date_of(file) >= _SEALS_AFTER]
        sealing = settled[-1] if settled else files[0]
        return [_load(file).private_bytes_raw() for file in dict.fromkeys([sealing, *files])]

    def rotate(self) -> str:
        """Create a new key, which is current immediately. Returns its verifier key.

        If the newest key was created in the same second, the name of the new key is one second later.
        """
        self._make(only_the_first=False)
        return self.public()[0][1]

    def _make(self, *, only_the_first: bool) -> None:
        make_directory(self._directory)
        with locked_directory(self._directory):
            files = ledger_key_files(self._directory)
            if files and only_the_first:
                return
            made = max([self._clock(), *(_date_of(newest) + timedelta(seconds=1) for newest in files[-1:])])
            replace_durably(self._directory / f"{made.strftime(_FILE_DATE)}.pem", _new_key())

    def _current_keys(self) -> list[Ed25519PrivateKey]:
        # A file with an invalid name that appears at run time fails the next start, not the signing.
        files = _named_as_keys(_files_in(self._directory))
        if not files:
            raise KeyMissing(f"no key in {self._directory}")
        *older, newest = files
        keys = [_load(newest)]
        if older and self._clock() - _date_of(newest) < self._overlap:
            keys.append(_load(older[-1]))
        return keys


def public_ledger_keys(directory: Path, name: str) -> list[tuple[str, str]]:
    """Return the creation time and verifier key of each existing key, newest first. Raises OSError, ValueError."""
    return [(file.stem, verifier_key(name, _load(file))) for file in reversed(ledger_key_files(directory))]


def ledger_key_files(directory: Path) -> list[Path]:
    """Return the key files, oldest first. Raises ValueError if one has an invalid name."""
    found = _files_in(directory)
    files = _named_as_keys(found)
    if strange := sorted(
        file for file in set(found) - set(files) if file.suffix == ".pem" and not file.name.startswith(".")
    ):
        raise ValueError(
            f"the name of {strange[0]} is not a creation time such as 20261125T120000Z.pem: rename or remove the file"
        )
    return files


def _files_in(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.exists() else []


def _named_as_keys(files: list[Path]) -> list[Path]:
    return sorted(file for file in files if _FILE.fullmatch(file.name) and _is_date(file))


def _is_date(file: Path) -> bool:
    try:
        _date_of(file)
    except ValueError:
        return False
    return True


def _date_of(file: Path) -> datetime:
    return datetime.strptime(file.stem, _FILE_DATE).replace(tzinfo=UTC)


class NoteVerifier:
    """Verifies that a checkpoint is signed by one of these verifier keys and matches its note."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = parse_keys("\n".join(keys))

    def verify(self, checkpoint: Checkpoint) -> bool:
        """Return whether it does."""
        try:
            signed = parse_checkpoint(checkpoint.note.encode(), self._keys, "the checkpoint")
        except Wrong:
            return False
        client = unquote(signed.origin.rpartition("/")[2])
        return (client, signed.size, signed.root) == (
            checkpoint.client_ext_id,
            checkpoint.size,
            checkpoint.root,
        )


def read_checkpoints(paths: Sequence[Path]) -> list[Checkpoint]:
    """Return the checkpoints in files, and in directories of files named *.checkpoint.

    Raises OSError, ValueError if a file does not contain a checkpoint.
    """
    files: list[Path] = []
    for path in paths:
        files += sorted(path.glob("*.checkpoint")) if path.is_dir() else [path]
    found = []
    for file in files:
        try:
            note = file.read_text()
            found.append(Checkpoint(*parse_checkpoint_text(note), note, datetime.now(UTC)))
        except ValueError as error:
            raise ValueError(f"{file} does not contain a checkpoint") from error
    return found


def verifier_key(name: str, key: Ed25519PrivateKey) -> str:
    """Return the public key in the format of C2SP signed-note: name+hash+base64."""
    public = _ED25519 + key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"{name}+{_key_hash(name, public).hex()}+{base64.b64encode(public).decode()}"


def fingerprint(key: str) -> str:
    """Return the first 16 bytes of SHA-256 of a verifier key, in groups of four hexadecimal digits."""
    digits = hashlib.sha256(key.encode()).hexdigest()[:32]
    return " ".join(digits[begin : begin + 4] for begin in range(0, 32, 4))


def _signature_line(name: str, key: Ed25519PrivateKey, text: str) -> str:
    public = _ED25519 + key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signature = _key_hash(name, public) + key.sign(text.encode())
    return f"— {name} {base64.b64encode(signature).decode()}\n"


def _key_hash(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]


def _new_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load(file: Path) -> Ed25519PrivateKey:
    key = parse_private_key(file.read_bytes(), file)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{file}: a ledger key must be an Ed25519 key")  # noqa: TRY004 - the file's content is wrong
    return key
