"""Evidence: a file that proves events of a client without trusting the service. See docs/evidence.md."""

import base64
import hashlib
import json
import shutil
import zipfile
from array import array
from collections.abc import Mapping, Sequence
from io import SEEK_CUR, BytesIO
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast
from urllib.parse import quote

import msgspec

from application.record.checkpoint import Signer, make_checkpoint
from application.record.evidence_scope import EvidenceScope
from application.record.ledger import Checkpoint, Ledger, LedgerEntry
from application.record.merkle import shared_proof
from application.record.proof_nodes import ProofNodes
from application.record.stream_heads import HeadProof, StreamHeads
from application.shared.ports import Clock
from application.tickets.records import TicketNotFound
from application.transaction.details import Details
from domain.shared.errors import Kind, Refusal

# A verifier reads at most 1 GiB; the rest of the file needs less than 1 MiB.
MAX_BYTES = 2**30 - 2**20
FORMAT = "tickets-evidence-v2"
# The evidence has a proof from each stored checkpoint, or from this number of them; `since` adds another.
_MAX_OLDER_CHECKPOINTS = 256
_MAX_BYTES_IN_MEMORY = 1024 * 1024
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16


class EvidenceTooLarge(Refusal):
    """The evidence would have more bytes than a verifier reads."""

    CODE = "EvidenceTooLarge"
    KIND = Kind.INVALID


def make_evidence(
    scope: EvidenceScope,
    *,
    ledger: Ledger,
    signer: Signer,
    clock: Clock,
    heads: StreamHeads | None = None,
    kept_nodes: ProofNodes | None = None,
    since: int | None = None,
    max_bytes: int = MAX_BYTES,
) -> BinaryIO:
    """Return the evidence file, a ZIP; the caller closes it.

    The memory does not depend on the number of events, except for eight bytes of each: a large file is on disk. heads,
    kept_nodes: kept between calls; without heads, the complete ledger is read. since: the size of an older checkpoint
    to prove consistency with. Raises TicketNotFound if there are no such events or the ledger is smaller than that,
    EvidenceTooLarge, LedgerBroken, StoreUnavailable, OSError.
    """
    client = scope.client_ext_id
    heads = (heads or StreamHeads()) if scope.stream else None
    checkpoint = make_checkpoint(client, ledger=ledger, signer=signer, clock=clock, heads=heads)
    if checkpoint is None or (since or 0) > checkpoint.size:
        raise TicketNotFound("The ledger has fewer entries than the older checkpoint.")
    scope = scope.at(checkpoint.size)
    sizes = _older_sizes(scope, checkpoint, since, ledger)
    with _temporary_file() as events, _temporary_file() as nodes, _temporary_file() as details:
        positions = array("q")
        for page in scope.pages(ledger, checkpoint.size):
            positions.extend(entry.position for entry in page)
            events.writelines(_event(entry, scope) for entry in page)
            texts = ledger.details(client, [entry.position for entry in page])
            details.writelines(_details(position, texts[position]) for position in sorted(texts))
            _limit(max_bytes, events, details)
        if not positions:
            raise TicketNotFound(scope.absent)
        subtree = (kept_nodes or ProofNodes()).of(client, checkpoint.size, ledger)
        nodes.writelines(shared_proof(positions, sizes, checkpoint.size, subtree))
        _limit(max_bytes, events, details, nodes)
        files: dict[str, BinaryIO] = {
            "checkpoint": BytesIO(checkpoint.note.encode()),
            "events.jsonl": events,
            "details.jsonl": details,
            "nodes": nodes,
            "consistency.json": BytesIO(_json(sizes)),
        }
        if heads and scope.stream:
            files["heads.json"] = BytesIO(_heads(*heads.proof(client, checkpoint.size, scope.stream, ledger)))
        manifest = signer.sign(_manifest(scope, checkpoint, files)).encode()
        return zip_of({"manifest": BytesIO(manifest), **files})


def _limit(max_bytes: int, *files: BinaryIO) -> None:
    if sum(file.seek(0, SEEK_CUR) for file in files) > max_bytes:
        raise EvidenceTooLarge(
            f"The evidence has more than {max_bytes:,} bytes. Export fewer entries at a time."
        )


def zip_of(files: Mapping[str, BinaryIO]) -> BinaryIO:
    """Return a reproducible ZIP of the files: uncompressed, in this order, without dates. The caller closes it."""
    output = _temporary_file()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, _ZIP_DATE)
            info.create_system, info.external_attr = 3, _MODE
            content.seek(0)
            with archive.open(info, "w") as member:
                shutil.copyfileobj(content, member)
    output.seek(0)
    return output


def _temporary_file() -> BinaryIO:
    return cast(BinaryIO, SpooledTemporaryFile(max_size=_MAX_BYTES_IN_MEMORY))


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(_MAX_BYTES_IN_MEMORY):
        digest.update(chunk)
    return digest.hexdigest()


def _manifest(scope: EvidenceScope, checkpoint: Checkpoint, files: Mapping[str, BinaryIO]) -> str:
    lines = [
        FORMAT,
        f"client {quote(scope.client_ext_id, safe='')}",
        scope.line,
        f"size {checkpoint.size}",
        *(f"sha256 {_digest(file)} {name}" for name, file in files.items()),
    ]
    return "\n".join(lines) + "\n"


def _older_sizes(
    scope: EvidenceScope, checkpoint: Checkpoint, since: int | None, ledger: Ledger
) -> Sequence[int]:
    stored = ledger.checkpoint_sizes(scope.client_ext_id, _MAX_OLDER_CHECKPOINTS)
    return sorted(size for size in {*stored, since or 0} if 0 < size < checkpoint.size)


def _details(position: int, details: Details) -> bytes:
    salt, reason = base64.b64encode(details.salt), msgspec.json.encode(details.reason)
    # The text exactly as in the bytes of the commitment: a verifier does not have to encode it again.
    return b'{"position":%d,"salt":"%s","reason":%s}\n' % (position, salt, reason)


def _event(entry: LedgerEntry, scope: EvidenceScope) -> bytes:
    stream = "" if scope.stream else f',"stream":"{entry.stream}"'
    columns = f'{stream},"version":{entry.version},"topic":"{entry.topic}"'
    return b'{"position":%d%s,"state":%s}\n' % (entry.position, columns.encode(), entry.state)


def _heads(count: int, head: HeadProof) -> bytes:
    proof = [base64.b64encode(node).decode() for node in head.proof]
    return _json({"version": head.version, "index": head.index, "count": count, "proof": proof})


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
