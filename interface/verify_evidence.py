"""Verify an evidence file of the ticket-credential service, without the service.

    python verify_evidence.py FILE.zip --key KEY [--checkpoint OLD]

Needs Python 3.11 and `cryptography`, and shares no code with the service. It checks the format of docs/evidence.md.
KEY is a verifier key (name+hash+base64) or a file with one per line; get it from a trusted source, not together with the
evidence. OLD is a file with an older checkpoint with which the evidence must be consistent. Exit status 0: verified;
1: not verified, with the reason; 2: a file cannot be read.
"""

import argparse
import base64
import binascii
import hashlib
import io
import json
import re
import struct
import sys
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FILES = ["manifest", "checkpoint", "events.jsonl", "heads.json", "consistency.json", "summary.html"]
STREAMS = uuid.UUID("6f5fd1b7-2f0b-5a52-8c1e-5d3b1d1f3a60")


class Wrong(Exception):
    """The evidence is invalid; the message is the reason."""


@dataclass(frozen=True)
class Key:
    """A verifier key (C2SP signed-note)."""

    name: str
    key_hash: bytes
    public: Ed25519PublicKey


@dataclass(frozen=True)
class Checkpoint:
    """The content of a signed checkpoint. heads: the number of streams and the root over their heads."""

    origin: str
    size: int
    root: bytes
    heads: tuple[int, bytes] | None


@dataclass(frozen=True)
class Verified:
    """The facts that the evidence proves."""

    client: str
    user: str
    events: int
    size: int


def parse_keys(text: str) -> list[Key]:
    """Return the keys of a text, one per line. Raises Wrong."""
    keys = []
    for line in filter(None, map(str.strip, text.splitlines())):
        parts = line.split("+", 2)
        if len(parts) != 3:
            raise Wrong(f"{line!r} is not a verifier key: it must be name+hash+base64")
        name, key_hash, encoded = parts
        public = decode(encoded, "the key")
        if len(public) != 33 or public[0] != 1:
            raise Wrong(f"the key {name!r} is not an Ed25519 key")
        if hashlib.sha256(name.encode() + b"\n" + public).digest()[:4].hex() != key_hash:
            raise Wrong(f"the key {name!r} does not match its hash: was it copied completely?")
        keys.append(Key(name, bytes.fromhex(key_hash), Ed25519PublicKey.from_public_bytes(public[1:])))
    if not keys:
        raise Wrong("no key was given")
    return keys


def open_note(note: bytes, keys: list[Key], what: str) -> str:
    """Return the text of a signed note. Raises Wrong unless it is well-formed and one of the keys signed it."""
    try:
        text, signatures = note.decode().rsplit("\n\n", 1)
    except ValueError:
        raise Wrong(f"{what} is not a signed note") from None
    text += "\n"
    good = False
    if not signatures.endswith("\n"):
        raise Wrong(f"{what} is truncated")
    for line in signatures[:-1].split("\n"):
        found = re.fullmatch(r"— (\S+) (\S+)", line)
        if not found:
            raise Wrong(f"{what} has a malformed signature line")
        signature = decode(found[2], f"a signature of {what}")
        for key in keys:
            if (key.name, key.key_hash) == (found[1], signature[:4]):
                try:
                    key.public.verify(signature[4:], text.encode())
                except InvalidSignature:
                    raise Wrong(f"the signature of {what} by {key.name!r} is wrong") from None
                good = True
    if not good:
        raise Wrong(f"{what} is not signed by the given key")
    return text


def parse_checkpoint(note: bytes, keys: list[Key], what: str) -> Checkpoint:
    """Return the content of a checkpoint. Raises Wrong."""
    lines = open_note(note, keys, what).split("\n")[:-1]
    if len(lines) not in (3, 4) or not re.fullmatch(r"[1-9][0-9]{0,17}|0", lines[1]):
        raise Wrong(f"{what} does not contain a size and a root")
    heads = None
    if len(lines) == 4:
        found = re.fullmatch(r"heads ([1-9][0-9]{0,17}) (\S+)", lines[3])
        if not found:
            raise Wrong(f"{what} has an unknown line: {lines[3]!r}")
        heads = (int(found[1]), digest(found[2], f"the heads of {what}"))
    return Checkpoint(lines[0], int(lines[1]), digest(lines[2], f"the root of {what}"), heads)


def decode(text: object, what: str) -> bytes:
    """Decode base64. Raises Wrong unless the encoding is canonical."""
    try:
        octets = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        raise Wrong(f"{what} is not base64") from None
    if base64.b64encode(octets).decode() != text:
        raise Wrong(f"{what} is not canonical base64")
    return octets


def digest(text: object, what: str) -> bytes:
    """Decode a SHA-256 in base64. Raises Wrong."""
    octets = decode(text, what)
    if len(octets) != 32:
        raise Wrong(f"{what} has {len(octets)} bytes, a SHA-256 has 32")
    return octets


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf (RFC 9162)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node (RFC 9162)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_from(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes | None:
    """Return the root computed from an inclusion proof (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return None
    first, last, root = index, size - 1, leaf
    for node in proof:
        if last == 0:
            return None
        if first & 1 or first == last:
            root = node_hash(node, root)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            root = node_hash(root, node)
        first, last = first >> 1, last >> 1
    return root if last == 0 else None


def consistent(old: Checkpoint, new: Checkpoint, proof: list[bytes]) -> bool:
    """Return whether the old tree is a prefix of the new one (RFC 9162, section 2.1.4.2)."""
    if old.size == new.size:
        return not proof and old.root == new.root
    if not 0 < old.size < new.size or not proof:
        return False
    path = proof if old.size & (old.size - 1) else [old.root, *proof]
    first, last = old.size - 1, new.size - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    old_root = new_root = path[0]
    for node in path[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            old_root, new_root = node_hash(node, old_root), node_hash(node, new_root)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            new_root = node_hash(new_root, node)
        first, last = first >> 1, last >> 1
    return last == 0 and old_root == old.root and new_root == new.root


def framed(*fields: bytes) -> bytes:
    """Return the fields, each preceded by its length in four bytes."""
    return b"".join(struct.pack(">i", len(field)) + field for field in fields)


def verify(content: bytes, keys: list[Key], old: bytes | None = None) -> Verified:
    """Return the facts that the evidence proves. Raises Wrong with the reason if it is invalid."""
    files = unzip(content)
    client, user, size = check_manifest(files, keys)
    checkpoint = parse_checkpoint(files["checkpoint"], keys, "the checkpoint")
    if not checkpoint.origin.endswith(f"/{quote(client, safe='')}"):
        raise Wrong(f"the checkpoint of {checkpoint.origin!r} is not of client {client!r}")
    if checkpoint.size != size:
        raise Wrong("the sizes in the manifest and the checkpoint differ")
    stream = uuid.uuid5(STREAMS, f"{client}\x1f{user}")
    versions = check_events(files["events.jsonl"], client, stream, checkpoint)
    check_heads(parse_json(files["heads.json"], "heads.json"), stream, versions, checkpoint)
    proofs = check_consistency(parse_json(files["consistency.json"], "consistency.json"), checkpoint)
    if old is not None:
        check_old(parse_checkpoint(old, keys, "the older checkpoint"), checkpoint, proofs)
    return Verified(client, user, versions, size)


def unzip(content: bytes) -> dict[str, bytes]:
    """Return the files. Raises Wrong unless the ZIP is byte for byte as the service writes it."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            if names != FILES:
                raise Wrong(f"the file must contain {', '.join(FILES)}; it contains {', '.join(names)}")
            files = {name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, OSError, RuntimeError) as error:
        raise Wrong(f"the ZIP is damaged: {error}") from None
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in FILES:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, files[name])
    if buffer.getvalue() != content:
        raise Wrong("the ZIP was modified outside of its files")
    return files


def check_manifest(files: dict[str, bytes], keys: list[Key]) -> tuple[str, str, int]:
    """Return the client, the user and the size. Raises Wrong unless every file matches its signed hash."""
    text = open_note(files["manifest"], keys, "the manifest")
    pattern = r"tickets-evidence-v1\nclient (\S+)\nuser (\S+)\nsize ([1-9][0-9]{0,17})\n((?:sha256 [0-9a-f]{64} \S+\n)+)"
    found = re.fullmatch(pattern, text)
    if not found:
        raise Wrong("the version of the manifest is unknown")
    listed = [line.split(" ") for line in found[4].splitlines()]
    if [name for _, _, name in listed] != FILES[1:]:
        raise Wrong("the manifest does not list the files")
    for _, signed, name in listed:
        if hashlib.sha256(files[name]).hexdigest() != signed:
            raise Wrong(f"{name} is not the file that was signed")
    return unquote(found[1]), unquote(found[2]), int(found[3])


def parse_json(content: bytes, what: str) -> Any:
    """Return the value. Raises Wrong."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Wrong(f"{what} is not JSON") from None


def nodes(found: object, what: str) -> list[bytes]:
    """Return the nodes of a proof. Raises Wrong."""
    if not isinstance(found, list) or len(found) > 64:
        raise Wrong(f"{what} has no proof")
    return [digest(node, f"a node in the proof of {what}") for node in found]


def number(found: object, what: str) -> int:
    """Return a number that is not negative. Raises Wrong."""
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 2**63:
        raise Wrong(f"{what} has no number")
    return found


def check_events(content: bytes, client: str, stream: uuid.UUID, checkpoint: Checkpoint) -> int:
    """Return the number of events. Raises Wrong unless each is in the signed ledger and none is missing in between."""
    lines = content.split(b"\n")
    if lines.pop() or not lines:
        raise Wrong("events.jsonl is truncated or empty")
    last = 0
    for version, line in enumerate(lines, start=1):
        what = f"event {version}"
        event = parse_json(line, what)
        if not isinstance(event, dict) or event.keys() != {"position", "version", "topic", "state", "proof"}:
            raise Wrong(f"{what} does not have the fields of an event")
        position, state = number(event["position"], what), decode(event["state"], what)
        if event["version"] != version:
            raise Wrong(f"{what} is missing: there is version {event['version']!r} in its place")
        if position <= last:
            raise Wrong(f"{what} has position {position}, which is not after that of the previous event")
        last = position
        check_state(state, stream, version, what)
        entry = framed(
            b"tickets-leaf-v1",
            client.encode(),
            struct.pack(">q", position),
            stream.bytes,
            struct.pack(">q", version),
            str(event["topic"]).encode(),
            state,
        )
        proof = nodes(event["proof"], what)
        if root_from(leaf_hash(entry), position - 1, checkpoint.size, proof) != checkpoint.root:
            raise Wrong(
                f"{what} (position {position}, {event['topic']}) is not in the signed ledger as it stands here"
            )
    return len(lines)


def check_state(state: bytes, stream: uuid.UUID, version: int, what: str) -> None:
    """Raise Wrong unless the stored bytes contain this stream and version."""
    stored = parse_json(state, what)
    if not isinstance(stored, dict) or stored.get("originator_id") != str(stream):
        raise Wrong(f"{what} belongs to another credential")
    if stored.get("originator_version") != version:
        raise Wrong(f"{what} contains version {stored.get('originator_version')!r}")


def check_heads(heads: Any, stream: uuid.UUID, versions: int, checkpoint: Checkpoint) -> None:
    """Raise Wrong unless the signed heads prove that the credential has exactly these events."""
    if checkpoint.heads is None:
        raise Wrong("the checkpoint has no heads, so it does not prove that the events are complete")
    if not isinstance(heads, dict) or heads.keys() != {"version", "index", "count", "proof"}:
        raise Wrong("heads.json does not have the expected fields")
    version, count = number(heads["version"], "heads.json"), number(heads["count"], "heads.json")
    if count != checkpoint.heads[0]:
        raise Wrong("the numbers of streams in heads.json and the checkpoint differ")
    leaf = leaf_hash(stream.bytes + struct.pack(">q", version))
    index, proof = number(heads["index"], "heads.json"), nodes(heads["proof"], "heads.json")
    if root_from(leaf, index, count, proof) != checkpoint.heads[1]:
        raise Wrong("the newest version of the credential is not the one that was signed")
    if version != versions:
        raise Wrong(f"the credential has {version} events, but {versions} are here")


def check_consistency(found: Any, checkpoint: Checkpoint) -> dict[int, list[bytes]]:
    """Return the proofs by the older size. Raises Wrong."""
    proofs = {}
    for one in found if isinstance(found, list) else [None]:
        if not isinstance(one, dict) or one.keys() != {"size", "proof"}:
            raise Wrong("consistency.json does not have the expected fields")
        size = number(one["size"], "consistency.json")
        if not 0 < size <= checkpoint.size:
            raise Wrong(f"consistency.json has a proof from {size} entries, of {checkpoint.size}")
        proofs[size] = nodes(one["proof"], "consistency.json")
    return proofs


def check_old(old: Checkpoint, new: Checkpoint, proofs: dict[int, list[bytes]]) -> None:
    """Raise Wrong unless the evidence is consistent with the older checkpoint."""
    if old.origin != new.origin:
        raise Wrong(f"the older checkpoint is of {old.origin!r}, the evidence of {new.origin!r}")
    if old.size > new.size:
        raise Wrong(
            f"the older checkpoint has {old.size} entries, the evidence only {new.size}: entries were removed"
        )
    proof = [] if old.size == new.size else proofs.get(old.size)
    if proof is None:
        raise Wrong(
            f"no proof from a checkpoint of {old.size} entries: export the evidence with --since {old.size}"
        )
    if not consistent(old, new, proof):
        raise Wrong(
            f"the first {old.size} entries differ from those of the older checkpoint: the record was changed"
        )


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description="Verify an evidence file of the ticket-credential service, without the service."
    )
    parser.add_argument("file", type=Path, help="the evidence, a ZIP")
    parser.add_argument(
        "--key", required=True, help="verifier key (name+hash+base64), or a file with one per line"
    )
    parser.add_argument(
        "--checkpoint", type=Path, help="an older checkpoint with which the evidence must be consistent"
    )
    arguments = parser.parse_args()
    try:
        content = arguments.file.read_bytes()
        old = arguments.checkpoint.read_bytes() if arguments.checkpoint else None
        keys = arguments.key if "+" in arguments.key else Path(arguments.key).read_text()
    except (OSError, UnicodeDecodeError) as error:
        print(f"cannot read: {error}", file=sys.stderr)
        return 2
    try:
        found = verify(content, parse_keys(keys), old)
    except Wrong as wrong:
        print(f"NOT VERIFIED: {wrong}")
        return 1
    print(
        f"VERIFIED: all {found.events} events of user {found.user!r} in client {found.client!r}, "
        f"in a ledger of {found.size} entries" + (", consistent with the older checkpoint" if old else "")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
