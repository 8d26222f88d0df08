"""Verify an evidence file of the ticket-credential service, without the service.

    python verify_evidence.py FILE.zip --key KEY [--checkpoint OLD] [--show] [--html PAGE]

Needs Python 3.11 and `cryptography`, and shares no code with the service. It checks the format of docs/evidence.md;
verify_evidence.mjs is the same in JavaScript. KEY is a verifier key (name+hash+base64) or a file with one per line; get
it from a trusted source, not together with the evidence. OLD is a file with an older checkpoint with which the evidence
must be consistent. --show prints the verified events, --html writes them as a page. Exit status 0: verified; 1: not
verified, with the reason in one line; 2: a file cannot be read or written.
"""

import argparse
import base64
import binascii
import hashlib
import json
import os
import re
import stat
import struct
import sys
import unicodedata
import uuid
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FILES_OF_VERSION_1 = [
    "manifest",
    "checkpoint",
    "events.jsonl",
    "heads.json",
    "consistency.json",
    "summary.html",
]
FILES = ["manifest", "checkpoint", "events.jsonl", "details.jsonl", "nodes", "consistency.json", "heads.json"]
# The namespaces of the UUIDs of streams.
STREAMS = {
    "user": uuid.UUID("6f5fd1b7-2f0b-5a52-8c1e-5d3b1d1f3a60"),
    "policy": uuid.UUID("0e5a4c0e-8a55-5c0b-9a3c-7d0b8f3f4b11"),
    "subscription": uuid.UUID("c2f0a3d4-7b1e-5f36-8e0d-2a6b9c4d1e57"),
}
MAX_BYTES = 2**30
KEY_BYTES, SIGNATURE_BYTES, DIGEST_BYTES, SALT_BYTES = 33, 68, 32, 16
NUMBER = "0|[1-9][0-9]{0,14}"
PROOF = r'\[((?:"[^"]*"(?:, ?"[^"]*"){0,63})?)\]'
EVENT = re.compile(
    rf'\{{"position": ?({NUMBER}), ?"version": ?({NUMBER}), ?"topic": ?"([A-Za-z0-9]{{1,100}})", ?'
    rf'"state": ?"([^"]*)", ?"proof": ?{PROOF}\}}'
)
HEADS = re.compile(
    rf'\{{"version": ?({NUMBER}), ?"index": ?({NUMBER}), ?"count": ?({NUMBER}), ?"proof": ?{PROOF}\}}'
)
OLDER = re.compile(rf'\{{"size": ?({NUMBER}), ?"proof": ?{PROOF}\}}')
UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
ENTRY = re.compile(
    rf'\{{"position":({NUMBER})(?:,"stream":"({UUID})")?,"version":({NUMBER}),"topic":"([A-Za-z0-9]{{1,100}})",'
    r'"state":(\{.*\})\}',
    re.DOTALL,
)
DETAILS = re.compile(
    rf'\{{"position":({NUMBER}),"salt":"([^"]*)","reason":("[^"\\]*(?:\\.[^"\\]*)*")\}}', re.DOTALL
)


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
class Event:
    """A verified event. stored: the fields of its stored bytes. reason: its free text, or the word erased."""

    position: int
    topic: str
    stored: dict[str, Any]
    reason: str


@dataclass(frozen=True)
class Scope:
    """The events that the evidence contains.

    kind: user (the user's ticket), policy, subscription, stream, or entries. name: the id, or the first and the last
    position. stream: None for entries.
    """

    kind: str
    name: str
    stream: uuid.UUID | None

    @property
    def positions(self) -> tuple[int, int]:
        """The first and the last position of entries."""
        first, last = self.name.split(" ")
        return int(first), int(last)

    def __str__(self) -> str:
        if self.kind == "entries":
            return "at positions {} to {}".format(*self.positions)
        return f"of {self.kind} {quoted(self.name)}"


@dataclass(frozen=True)
class Verified:
    """The facts that the evidence proves. size: the number of entries in the ledger."""

    client: str
    scope: Scope
    history: Sequence[Event]
    size: int

    @property
    def events(self) -> int:
        """The number of events."""
        return len(self.history)

    def __str__(self) -> str:
        return (
            f"all {self.events} events {self.scope} in client {quoted(self.client)}, "
            f"in a ledger of {self.size} entries"
        )


def shown(text: str) -> str:
    """Return the text without characters that a terminal or a reader could misunderstand."""
    return "".join(
        character
        if character == " " or unicodedata.category(character)[0] not in "CZ"
        else f"\\u{ord(character):04x}"
        for character in text
    )


def quoted(text: str) -> str:
    """Return the text in quotes."""
    return "'" + shown(text) + "'"


def parse_keys(text: str) -> list[Key]:
    """Return the keys of a text, one per line. Raises Wrong."""
    keys = []
    for line in filter(None, (line.strip(" \t\r") for line in text.split("\n"))):
        parts = line.split("+", 2)
        if len(parts) != 3:
            raise Wrong(f"{quoted(line)} is not a verifier key: it must be name+hash+base64")
        name, key_hash, encoded = parts
        public = decode(encoded, "the key")
        if len(public) != KEY_BYTES or public[0] != 1:
            raise Wrong(f"the key {quoted(name)} is not an Ed25519 key")
        if hashlib.sha256(name.encode() + b"\n" + public).digest()[:4].hex() != key_hash:
            raise Wrong(f"the key {quoted(name)} does not match its hash: was it copied completely?")
        keys.append(Key(name, bytes.fromhex(key_hash), Ed25519PublicKey.from_public_bytes(public[1:])))
    if not keys:
        raise Wrong("no key was given")
    return keys


def text_of(content: bytes, what: str) -> str:
    """Return the text of UTF-8. Raises Wrong."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Wrong(f"{what} is not UTF-8") from None


def open_note(note: bytes, keys: list[Key], what: str) -> str:
    """Return the text of a signed note. Raises Wrong unless it is well-formed and one of the keys signed it."""
    text, separator, signatures = text_of(note, what).rpartition("\n\n")
    if not separator:
        raise Wrong(f"{what} is not a signed note")
    if not signatures.endswith("\n"):
        raise Wrong(f"{what} is truncated")
    text += "\n"
    good = False
    for line in signatures[:-1].split("\n"):
        found = re.fullmatch("— ([^ ]+) ([^ ]+)", line)
        if not found:
            raise Wrong(f"{what} has a malformed signature line")
        signature = decode(found[2], f"a signature of {what}")
        for key in keys:
            if (key.name, key.key_hash) == (found[1], signature[:4]):
                if not is_signed(key, signature, text):
                    raise Wrong(f"the signature of {what} by {quoted(key.name)} is wrong")
                good = True
    if not good:
        raise Wrong(f"{what} is not signed by the given key")
    return text


def is_signed(key: Key, signature: bytes, text: str) -> bool:
    """Return whether the signature, preceded by its key hash, is right."""
    try:
        key.public.verify(signature[4:], text.encode())
    except InvalidSignature:
        return False
    return len(signature) == SIGNATURE_BYTES


def parse_checkpoint(note: bytes, keys: list[Key], what: str) -> Checkpoint:
    """Return the content of a checkpoint. Raises Wrong."""
    lines = open_note(note, keys, what).split("\n")[:-1]
    if len(lines) not in (3, 4) or not re.fullmatch(NUMBER, lines[1]):
        raise Wrong(f"{what} does not contain a size and a root")
    heads = None
    if len(lines) == 4:
        found = re.fullmatch("heads ([1-9][0-9]{0,14}) ([^ ]+)", lines[3])
        if not found:
            raise Wrong(f"{what} has an unknown line: {quoted(lines[3])}")
        heads = (int(found[1]), digest(found[2], f"the heads of {what}"))
    return Checkpoint(lines[0], int(lines[1]), digest(lines[2], f"the root of {what}"), heads)


def decode(text: str, what: str) -> bytes:
    """Decode base64 (RFC 4648, section 4). Raises Wrong unless the encoding is canonical."""
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    if base64.b64encode(octets).decode() != text:
        raise Wrong(f"{what} is not canonical base64")
    return octets


def digest(text: str, what: str) -> bytes:
    """Decode a SHA-256 in base64. Raises Wrong."""
    octets = decode(text, what)
    if len(octets) != DIGEST_BYTES:
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
    if old.size == 0:
        return not proof and old.root == hashlib.sha256().digest()
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
    version, client, scope, size = check_manifest(files, keys)
    checkpoint = parse_checkpoint(files["checkpoint"], keys, "the checkpoint")
    if not checkpoint.origin.endswith(f"/{quote(client, safe='')}"):
        raise Wrong(f"the checkpoint of {quoted(checkpoint.origin)} is not of client {quoted(client)}")
    if checkpoint.size != size:
        raise Wrong("the sizes in the manifest and the checkpoint differ")
    check = check_version_1 if version == "1" else check_version_2
    return Verified(client, scope, check(files, client, scope, checkpoint, keys, old), size)


def check_version_1(
    files: dict[str, bytes],
    client: str,
    scope: Scope,
    checkpoint: Checkpoint,
    keys: list[Key],
    old: bytes | None,
) -> Sequence[Event]:
    """Return the events of tickets-evidence-v1. Raises Wrong."""
    stream = stream_of(scope.kind, client, scope.name)
    events = check_events(files["events.jsonl"], client, stream, checkpoint)
    check_heads(files["heads.json"], stream, len(events), checkpoint, "credential")
    proofs = check_consistency(files["consistency.json"], checkpoint)
    if old is not None:
        check_old(parse_checkpoint(old, keys, "the older checkpoint"), checkpoint, proofs)
    return events


def check_version_2(
    files: dict[str, bytes],
    client: str,
    scope: Scope,
    checkpoint: Checkpoint,
    keys: list[Key],
    old: bytes | None,
) -> Sequence[Event]:
    """Return the events of tickets-evidence-v2. Raises Wrong."""
    entries = check_entries(files["events.jsonl"], scope)
    sizes = older_sizes(files["consistency.json"], checkpoint)
    tree = check_tree([(e.position, e.leaf(client)) for e in entries], sizes, files["nodes"], checkpoint)
    events = with_details(files["details.jsonl"], [entry.event() for entry in entries])
    if scope.stream:
        check_heads(files["heads.json"], scope.stream, len(events), checkpoint, "stream")
    if old is not None:
        check_prefix(parse_checkpoint(old, keys, "the older checkpoint"), checkpoint, tree)
    return events


def unzip(content: bytes) -> dict[str, bytes]:
    """Return the files. Raises Wrong unless the ZIP is byte for byte as documented: so nothing else can be in it."""
    if len(content) > MAX_BYTES:
        raise Wrong("the file has more than 1 GiB")
    files, directory, offset = dict[str, bytes](), b"", 0
    for _ in FILES:
        if content[offset : offset + 4] == b"PK\x01\x02":
            break
        begin = offset + 30 + int.from_bytes(content[offset + 26 : offset + 28], "little")
        size = int.from_bytes(content[offset + 18 : offset + 22], "little")
        name, member = content[offset + 30 : begin], content[begin : begin + size]
        common = struct.pack("<5H3IHH", 20, 0, 0, 0, 33, zlib.crc32(member), size, size, len(name), 0)
        if len(member) != size or content[offset:begin] != b"PK\x03\x04" + common + name:
            raise Wrong(f"the ZIP is not as documented at byte {offset}")
        directory += b"PK\x01\x02" + struct.pack("<H", 3 << 8 | 20) + common
        directory += struct.pack("<HHHII", 0, 0, 0, 0o644 << 16, offset) + name
        files[name.decode("latin-1")], offset = member, begin + size
    count = len(files)
    end = b"PK\x05\x06" + struct.pack("<4HIIH", 0, 0, count, count, len(directory), offset, 0)
    if content[offset:] != directory + end:
        raise Wrong("the ZIP is not as documented at its end")
    return files


def check_manifest(files: dict[str, bytes], keys: list[Key]) -> tuple[str, str, Scope, int]:
    """Return the version, the client, the scope and the size. Raises Wrong unless every file matches its signed hash."""
    if "manifest" not in files:
        raise Wrong("the file has no manifest")
    text = open_note(files["manifest"], keys, "the manifest")
    pattern = (
        r"tickets-evidence-v([12])\nclient ([^ \n]+)\n(user|policy|subscription|stream|entries) ([^\n]+)\n"
        r"size ([1-9][0-9]{0,14})\n((?:sha256 [0-9a-f]{64} [^ \n]+\n)+)"
    )
    found = re.fullmatch(pattern, text)
    if not found or (found[1] == "1" and found[3] != "user"):
        raise Wrong("the manifest is not as documented, or of a later version")
    listed = [line.split(" ") for line in found[6].split("\n")[:-1]]
    expected = FILES_OF_VERSION_1 if found[1] == "1" else FILES[: 6 if found[3] == "entries" else 7]
    if ["manifest", *(name for _, _, name in listed)] != expected or list(files) != expected:
        raise Wrong("the manifest does not list the files")
    for _, signed, name in listed:
        if hashlib.sha256(files[name]).hexdigest() != signed:
            raise Wrong(f"{name} is not the file that was signed")
    client = unquoted(found[2])
    return found[1], client, parse_scope(client, found[3], found[4]), int(found[5])


def stream_of(kind: str, client: str, name: str) -> uuid.UUID:
    """Return the stream of a user's ticket, a policy or a subscription."""
    return uuid.uuid5(STREAMS[kind], f"{client}\x1f{name}")


def parse_scope(client: str, kind: str, text: str) -> Scope:
    """Return the scope of a line of the manifest. Raises Wrong."""
    if kind in STREAMS:
        name = unquoted(text)
        return Scope(kind, name, stream_of(kind, client, name))
    pattern = UUID if kind == "stream" else "[1-9][0-9]{0,14} [1-9][0-9]{0,14}"
    if not re.fullmatch(pattern, text):
        raise Wrong("the manifest is not as documented, or of a later version")
    return Scope(kind, text, uuid.UUID(text) if kind == "stream" else None)


def unquoted(text: str) -> str:
    """Return a percent-encoded id. Raises Wrong unless the encoding is canonical."""
    found = unquote(text)
    if quote(found, safe="") != text:
        raise Wrong("an id in the manifest is not percent-encoded as documented")
    return found


def nodes(found: str, what: str) -> list[bytes]:
    """Return the nodes of a proof. Raises Wrong."""
    return [digest(node, f"a node in the proof of {what}") for node in re.findall('"([^"]*)"', found)]


def check_events(content: bytes, client: str, stream: uuid.UUID, checkpoint: Checkpoint) -> Sequence[Event]:
    """Return the events. Raises Wrong unless each is in the signed ledger and none is missing in between."""
    lines = content.decode("latin-1").split("\n")
    if lines.pop() or not lines:
        raise Wrong("events.jsonl is truncated or empty")
    events: list[Event] = []
    for version, line in enumerate(lines, start=1):
        what = f"event {version}"
        found = EVENT.fullmatch(line)
        if not found:
            raise Wrong(f"{what} is not written as documented")
        position, topic, state = int(found[1]), found[3], decode(found[4], what)
        if int(found[2]) != version:
            raise Wrong(f"{what} is missing: there is version {found[2]} in its place")
        if events and position <= events[-1].position:
            raise Wrong(f"{what} has position {position}, which is not after that of the previous event")
        entry, proof = Entry(position, stream, version, topic, state), nodes(found[5], what)
        if root_from(entry.leaf(client), position - 1, checkpoint.size, proof) != checkpoint.root:
            raise Wrong(
                f"{what} (position {position}, {topic}) is not in the signed ledger as it stands here"
            )
        events.append(entry.event())
    return events


@dataclass(frozen=True)
class Entry:
    """An entry of the ledger. state: the stored bytes."""

    position: int
    stream: uuid.UUID
    version: int
    topic: str
    state: bytes

    def leaf(self, client: str) -> bytes:
        """Return the hash of its leaf."""
        position, version = struct.pack(">q", self.position), struct.pack(">q", self.version)
        fields = (position, self.stream.bytes, version, self.topic.encode(), self.state)
        return leaf_hash(framed(b"tickets-leaf-v1", client.encode(), *fields))

    def event(self) -> Event:
        """Return the event. Raises Wrong unless the stored bytes name this stream and version."""
        stored = stored_event(self.state, self.stream, self.version, f"the event at position {self.position}")
        reason = stored.get("reason")
        return Event(self.position, self.topic, stored, "" if reason is None else as_text(reason))


def check_entries(content: bytes, scope: Scope) -> Sequence[Entry]:
    """Return the entries. Raises Wrong unless they are those of the scope, without a gap."""
    entries: list[Entry] = []
    first, last = scope.positions if scope.stream is None else (1, 0)
    for number, line in enumerate(lines_of(content, "events.jsonl")):
        found = ENTRY.fullmatch(line)
        if not found or (found[2] is None) != (scope.stream is not None):
            raise Wrong(f"line {number + 1} of events.jsonl is not written as documented")
        position, version = int(found[1]), int(found[3])
        stream = scope.stream or uuid.UUID(found[2])
        entry = Entry(position, stream, version, found[4], found[5].encode("latin-1"))
        if scope.stream is None and position != first + number:
            raise Wrong(f"position {first + number} is missing: there is position {position} in its place")
        if scope.stream and version != number + 1:
            raise Wrong(f"event {number + 1} is missing: there is version {version} in its place")
        if position <= (entries[-1].position if entries else 0):
            raise Wrong(f"position {position} is not after that of the previous event")
        entries.append(entry)
    if not entries:
        raise Wrong("events.jsonl is empty")
    if scope.stream is None and entries[-1].position != last:
        raise Wrong(f"the events end at position {entries[-1].position} instead of {last}")
    return entries


def lines_of(content: bytes, name: str) -> Iterator[str]:
    """Yield the lines of a file, each byte as a character. Raises Wrong if the last one is not complete."""
    if content and not content.endswith(b"\n"):
        raise Wrong(f"{name} is truncated")
    return (line.decode("latin-1") for line in content.split(b"\n")[:-1])


def older_sizes(content: bytes, checkpoint: Checkpoint) -> list[int]:
    """Return the sizes of the older checkpoints for which the evidence has a proof. Raises Wrong."""
    text = content.decode("latin-1")
    if not re.fullmatch(rf"\[(?:(?:{NUMBER})(?:,(?:{NUMBER}))*)?\]", text):
        raise Wrong("consistency.json is not written as documented")
    sizes = [int(size) for size in re.findall("[0-9]+", text)]
    if sizes != sorted({size for size in sizes if 0 < size < checkpoint.size}):
        raise Wrong("consistency.json is not written as documented")
    return sizes


def check_tree(
    leaves: Sequence[tuple[int, bytes]], sizes: list[int], proof: bytes, checkpoint: Checkpoint
) -> dict[int, bytes]:
    """Return the roots of the trees of the older sizes. Raises Wrong unless leaves and proof are the signed tree."""
    positions, known = [position for position, _ in leaves], dict(leaves)
    if positions[-1] > checkpoint.size:
        raise Wrong(f"position {positions[-1]} is after the last of the signed ledger")
    wanted = {block for size in sizes for block in blocks(size)}
    given = iter([proof[place : place + DIGEST_BYTES] for place in range(0, len(proof), DIGEST_BYTES)])
    kept = dict[tuple[int, int], bytes]()

    def node(begin: int, end: int) -> bytes:
        """Return the hash of the node over the leaves [begin, end), from 0: computed if it is on the way to one of them."""
        has_leaf = bisect_right(positions, begin) < bisect_right(positions, end)
        if not has_leaf and bisect_right(sizes, begin) == bisect_left(sizes, end):
            found = next(given, b"")
        elif end - begin == 1:
            found = known[end]
        else:
            middle = begin + (1 << (end - begin - 1).bit_length() - 1)
            found = node_hash(node(begin, middle), node(middle, end))
        if (begin, end) in wanted:
            kept[begin, end] = found
        return found

    if node(0, checkpoint.size) != checkpoint.root or next(given, None) is not None:
        raise Wrong("the events are not in the signed ledger as they stand here")
    return {size: root_over([kept[block] for block in blocks(size)]) for size in sizes}


def blocks(size: int) -> list[tuple[int, int]]:
    """Return the complete subtrees of a tree, the largest first."""
    found, begin = list[tuple[int, int]](), 0
    while begin < size:
        end = begin + (1 << (size - begin).bit_length() - 1)
        found.append((begin, end))
        begin = end
    return found


def root_over(hashes: list[bytes]) -> bytes:
    """Return the root over the complete subtrees of a tree."""
    *others, root = hashes
    for left in reversed(others):
        root = node_hash(left, root)
    return root


def with_details(content: bytes, events: Sequence[Event]) -> Sequence[Event]:
    """Return the events with their free text, or with the word erased. Raises Wrong if a text is not the signed one."""
    texts, last = dict[int, str](), 0
    committed = {event.position: event.stored["details"] for event in events if "details" in event.stored}
    for number, line in enumerate(lines_of(content, "details.jsonl"), start=1):
        found = DETAILS.fullmatch(line)
        if not found or int(found[1]) <= last:
            raise Wrong(f"line {number} of details.jsonl is not written as documented")
        last = int(found[1])
        if last not in committed:
            raise Wrong(f"details.jsonl has a text for position {last}, whose event has none")
        salt, fields = decode(found[2], f"the salt for position {last}"), found[3].encode("latin-1")
        commitment = hashlib.sha256(b"tickets-commitment-v1\x00" + salt + b'{"reason":' + fields + b"}")
        if len(salt) != SALT_BYTES or commitment.hexdigest() != committed[last]:
            raise Wrong(f"the text for position {last} is not the one that was signed")
        texts[last] = text_in(fields, last)
    return [
        replace(event, reason=texts.get(event.position, "erased")) if event.position in committed else event
        for event in events
    ]


def text_in(fields: bytes, position: int) -> str:
    """Return the text of a JSON string. Raises Wrong."""
    try:
        return str(json.loads(fields.decode()))
    except ValueError:
        raise Wrong(f"the text for position {position} is not JSON") from None


def check_prefix(old: Checkpoint, new: Checkpoint, roots: dict[int, bytes]) -> None:
    """Raise Wrong unless the evidence is consistent with the older checkpoint."""
    check_newer(old, new)
    root = {**roots, 0: hashlib.sha256().digest(), new.size: new.root}.get(old.size)
    if root is None:
        raise Wrong(NO_PROOF.format(size=old.size))
    if root != old.root:
        raise Wrong(CHANGED.format(size=old.size))


def stored_event(state: bytes, stream: uuid.UUID, version: int, what: str) -> dict[str, Any]:
    """Return the fields of the stored bytes. Raises Wrong unless they name this stream and version."""
    try:
        stored = json.loads(state.decode(), parse_constant=int)  # int refuses the constants: JSON has none
    except (ValueError, RecursionError):
        raise Wrong(f"{what} is not JSON") from None
    if not isinstance(stored, dict) or stored.get("originator_id") != str(stream):
        raise Wrong(f"{what} belongs to another stream")
    if isinstance(stored.get("originator_version"), bool) or stored.get("originator_version") != version:
        raise Wrong(f"{what} contains another version")
    return stored


def check_heads(content: bytes, stream: uuid.UUID, versions: int, checkpoint: Checkpoint, named: str) -> None:
    """Raise Wrong unless the signed heads prove that the stream has exactly these events."""
    if checkpoint.heads is None:
        raise Wrong("the checkpoint has no heads, so it does not prove that the events are complete")
    found = HEADS.fullmatch(content.decode("latin-1"))
    if not found:
        raise Wrong("heads.json is not written as documented")
    version, index, count = int(found[1]), int(found[2]), int(found[3])
    if count != checkpoint.heads[0]:
        raise Wrong("the numbers of streams in heads.json and the checkpoint differ")
    leaf = leaf_hash(stream.bytes + struct.pack(">q", version))
    if root_from(leaf, index, count, nodes(found[4], "heads.json")) != checkpoint.heads[1]:
        raise Wrong(f"the newest version of the {named} is not the one that was signed")
    if version != versions:
        raise Wrong(f"the {named} has {version} events, but {versions} are here")


def check_consistency(content: bytes, checkpoint: Checkpoint) -> dict[int, list[bytes]]:
    """Return the proofs by the older size. Raises Wrong."""
    text, proofs = content.decode("latin-1"), {}
    for one in re.split("(?<=}), ?", text[1:-1]) if text != "[]" else ():
        found = OLDER.fullmatch(one)
        if not found or text[0] + text[-1] != "[]":
            raise Wrong("consistency.json is not written as documented")
        size = int(found[1])
        if not 0 < size <= checkpoint.size:
            raise Wrong(f"consistency.json has a proof from {size} entries, of {checkpoint.size}")
        proofs[size] = nodes(found[2], "consistency.json")
    return proofs


NO_PROOF = (
    "the evidence has no proof from a checkpoint of {size} entries: export it again with"
    " `tickets evidence export … --checkpoint` and the file of the older checkpoint"
)
CHANGED = "the first {size} entries differ from those of the older checkpoint: the record was changed"


def check_newer(old: Checkpoint, new: Checkpoint) -> None:
    """Raise Wrong unless the evidence is of the same ledger as the older checkpoint, and not older."""
    if old.origin != new.origin:
        raise Wrong(f"the older checkpoint is of {quoted(old.origin)}, the evidence of {quoted(new.origin)}")
    if old.size > new.size:
        raise Wrong(
            f"the older checkpoint has {old.size} entries, the evidence only {new.size}: "
            "use newer evidence, or entries were removed"
        )


def check_old(old: Checkpoint, new: Checkpoint, proofs: dict[int, list[bytes]]) -> None:
    """Raise Wrong unless the evidence is consistent with the older checkpoint."""
    check_newer(old, new)
    proof = [] if old.size in (0, new.size) else proofs.get(old.size)
    if proof is None:
        raise Wrong(NO_PROOF.format(size=old.size))
    if not consistent(old, new, proof):
        raise Wrong(CHANGED.format(size=old.size))


HIDDEN = {
    "originator_id",
    "originator_version",
    "originator_topic",
    "timestamp",
    "actor",
    "reason",
    "correlation_id",
    "command_id",
    "request_digest",
    "client_ext_id",
    "details",
}


def words(name: str) -> str:
    """Return a name such as TicketRegenerated or valid_from in words."""
    spaced = re.sub("(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower()
    return spaced[:1].upper() + spaced[1:]


def as_text(value: object) -> str:
    """Return a text as it is, and any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def moment(value: object) -> str:
    """Return a stored time such as 2026-11-23T09:42:00Z for people; any other value as text."""
    text = as_text(value)
    found = re.fullmatch(
        r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]+)?(?:Z|\+00:00)", text
    )
    return f"{found[1]} {found[2]}{found[3] or ''} UTC" if found else shown(text)


def rows(found: Verified, separator: str = "; ") -> list[list[str]]:
    """Return position, time, event, actor, reason and the further fields of each event, for people."""
    hidden = HIDDEN | ({"user_ext_id"} if found.scope.kind == "user" else set())
    return [
        [
            str(event.position),
            moment(event.stored.get("timestamp")),
            words(event.topic),
            shown(as_text(event.stored.get("actor") or "")),
            shown(event.reason),
            separator.join(
                f"{shown(words(name)).lower()}: {fingerprint(value) if name == 'ticket_hash' else moment(value)}"
                for name, value in event.stored.items()
                if name not in hidden and value is not None
            ),
        ]
        for event in found.history
    ]


def fingerprint(value: object) -> str:
    """Return the algorithm of a hash and a fingerprint, not the hash: it would help to guess the ticket."""
    text = as_text(value)
    algorithm = re.match(r"\{[A-Z0-9+]+\}", text)
    return f"{algorithm[0] if algorithm else ''} {hashlib.sha256(text.encode()).hexdigest()[:16]}".strip()


HEADINGS = ["Position", "Time", "Event", "Actor", "Reason", "Fields"]


def table(found: Verified) -> str:
    """Return the verified events as text, two lines for each."""
    cells = [HEADINGS, *rows(found)]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    lines = []
    for row in cells:
        fixed = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        lines.append(f"{fixed}  {row[4]}".rstrip())
        if row[5] and row is not HEADINGS:
            lines.append(f"{'':{widths[0]}}  {row[5]}")
    return "\n".join(lines)


def page(found: Verified) -> str:
    """Return the verified events as an HTML page."""
    facts = [("Client", shown(found.client)), ("Events", f"{found.events} {found.scope}")]
    facts.append(("Ledger", f"{found.size} entries"))
    listed = "\n".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    lines = [
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows(found, "\n")
    ]
    headings = "".join(f"<th>{name}</th>" for name in HEADINGS)
    title = f"Verified events {escape(str(found.scope))}"
    return PAGE.format(title=title, facts=listed, headings=headings, rows="\n".join(lines))


PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8886; --quiet: #667 }}
@media (prefers-color-scheme: dark) {{ :root {{ --quiet: #aab }} }}
body {{ font: 15px/1.5 system-ui, "Helvetica Neue", Arial, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1.2rem }}
h1 {{ font-size: 1.5rem; margin: 0 0 .3rem; overflow-wrap: anywhere }}
p {{ color: var(--quiet); margin: 0 }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.4rem; margin: 1.2rem 0 1.6rem }}
dt {{ color: var(--quiet) }}
dd {{ margin: 0; overflow-wrap: anywhere }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; vertical-align: top; padding: .45rem .7rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere }}
th {{ border-bottom-width: 2px; white-space: nowrap }}
td:nth-child(1), th:nth-child(1) {{ text-align: right; font-variant-numeric: tabular-nums }}
td:nth-child(2), td:nth-child(3) {{ white-space: nowrap }}
td:nth-child(6) {{ color: var(--quiet); font-size: .9em; white-space: pre-line }}
tr {{ break-inside: avoid }}
thead {{ display: table-header-group }}
@page {{ size: A4 landscape; margin: 14mm }}
@media print {{ :root {{ color-scheme: light; --quiet: #444 }} body {{ font-size: 9.5pt; margin: 0; max-width: none }} }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>Written by verify_evidence.py from the events that it verified. A hash is shown as its algorithm and a fingerprint.</p>
<dl>
{facts}
</dl>
<table>
<thead><tr>{headings}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</body>
</html>
"""


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
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
    parser.add_argument("--show", action="store_true", help="print the verified events")
    parser.add_argument("--html", type=Path, metavar="PAGE", help="write the verified events to an HTML page")
    return parser.parse_args()


def main() -> int:
    """Run the command line."""
    given = arguments()
    try:
        with given.file.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        old = given.checkpoint.read_bytes() if given.checkpoint else None
        keys = given.key if "+" in given.key else Path(given.key).read_text()
    except (OSError, UnicodeDecodeError) as error:
        print(f"cannot read: {shown(str(error))}", file=sys.stderr)
        return 2
    try:
        found = verify(content, parse_keys(keys), old)
    except Wrong as wrong:
        print(f"NOT VERIFIED: {wrong}")
        return 1
    print(f"VERIFIED: {found}" + (", consistent with the older checkpoint" if old else ""))
    if given.show:
        print(f"\n{table(found)}")
    if given.html:
        try:
            with os.fdopen(os.open(given.html, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    if hasattr(os, "fchmod"):  # not on Windows
                        os.fchmod(file.fileno(), 0o600)
                    file.truncate()
                file.write(page(found))
        except OSError as error:
            print(f"cannot write: {shown(str(error))}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
