"""Evidence: a file that proves the history of a credential without trusting the service. See docs/evidence.md."""

import base64
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from html import escape
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast
from urllib.parse import quote

from application.record.checkpoint import Signer, make_checkpoint
from application.record.history import history, reason_text, stream_entries
from application.record.ledger import Checkpoint, Ledger, LedgerTree
from application.record.merkle import consistency_proof, inclusion_proof
from application.record.stream_heads import HeadProof, StreamHeads
from application.shared.ports import Clock
from application.tickets.records import TicketNotFound
from domain.shared.subject import Subject
from domain.tickets.events import stream_id

FORMAT = "tickets-evidence-v1"
FILES = ("manifest", "checkpoint", "events.jsonl", "heads.json", "consistency.json", "summary.html")
# The evidence has a consistency proof from each stored checkpoint, or from this number of them; `since` adds another.
_MAX_OLDER_CHECKPOINTS = 256
_MAX_BYTES_IN_MEMORY = 1024 * 1024
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16
_ROWS = "<!-- rows -->"


def make_evidence(
    subject: Subject,
    *,
    ledger: Ledger,
    signer: Signer,
    clock: Clock,
    heads: StreamHeads | None = None,
    since: int | None = None,
) -> BinaryIO:
    """Return the evidence file of a user's credential, a ZIP; the caller closes it.

    The memory does not depend on the number of events: a large file is on disk. heads: kept between calls; without them,
    the complete ledger is read. since: the size of an older checkpoint to prove consistency with. Raises TicketNotFound if
    there is no history or the ledger is smaller than that, LedgerBroken, StoreUnavailable, OSError.
    """
    heads = heads or StreamHeads()
    checkpoint = make_checkpoint(
        subject.client_ext_id, ledger=ledger, signer=signer, clock=clock, heads=heads
    )
    if checkpoint is None or (since or 0) > checkpoint.size:
        raise TicketNotFound("The ledger has fewer entries than the older checkpoint.")
    tree = LedgerTree(ledger, subject.client_ext_id)
    with _temporary_file() as events, _temporary_file() as summary:
        _write(events, _events(subject, checkpoint, ledger, tree))
        if not events.seek(0, io.SEEK_END):
            raise TicketNotFound(f"User {subject.user_ext_id!r} never had a ticket.")
        stream = stream_id(*subject)
        count, head = heads.proof(subject.client_ext_id, checkpoint.size, stream, ledger)
        _write(summary, _summary(subject, checkpoint, ledger, head.version))
        files: dict[str, BinaryIO] = {
            "checkpoint": BytesIO(checkpoint.note.encode()),
            "events.jsonl": events,
            "heads.json": BytesIO(_heads(count, head)),
            "consistency.json": BytesIO(_consistency(subject, checkpoint, since, ledger, tree)),
            "summary.html": summary,
        }
        files["manifest"] = BytesIO(signer.sign(_manifest(subject, checkpoint, files)).encode())
        return zip_of(files)


def zip_of(files: Mapping[str, BinaryIO]) -> BinaryIO:
    """Return a reproducible ZIP of the files: uncompressed, in a fixed order, without dates. The caller closes it."""
    output = _temporary_file()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:
        for name in FILES:
            info = zipfile.ZipInfo(name, _ZIP_DATE)
            info.create_system, info.external_attr = 3, _MODE
            files[name].seek(0)
            with archive.open(info, "w") as member:
                shutil.copyfileobj(files[name], member)
    output.seek(0)
    return output


def _temporary_file() -> BinaryIO:
    return cast(BinaryIO, SpooledTemporaryFile(max_size=_MAX_BYTES_IN_MEMORY))


def _write(file: BinaryIO, parts: Iterator[str]) -> None:
    file.writelines(part.encode() for part in parts)


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(_MAX_BYTES_IN_MEMORY):
        digest.update(chunk)
    return digest.hexdigest()


def _manifest(subject: Subject, checkpoint: Checkpoint, files: Mapping[str, BinaryIO]) -> str:
    lines = [
        FORMAT,
        f"client {quote(subject.client_ext_id, safe='')}",
        f"user {quote(subject.user_ext_id, safe='')}",
        f"size {checkpoint.size}",
        *(f"sha256 {_digest(files[name])} {name}" for name in FILES[1:]),
    ]
    return "\n".join(lines) + "\n"


def _events(subject: Subject, checkpoint: Checkpoint, ledger: Ledger, tree: LedgerTree) -> Iterator[str]:
    for entry in stream_entries(subject, ledger=ledger):
        if entry.position > checkpoint.size:
            return
        proof = inclusion_proof(entry.position - 1, checkpoint.size, tree.subtree)
        line = {
            "position": entry.position,
            "version": entry.version,
            "topic": entry.topic,
            "state": _text(entry.state),
            "proof": [_text(node) for node in proof],
        }
        yield json.dumps(line, separators=(",", ":")) + "\n"


def _heads(count: int, head: HeadProof) -> bytes:
    shown = {
        "version": head.version,
        "index": head.index,
        "count": count,
        "proof": [_text(node) for node in head.proof],
    }
    return json.dumps(shown, separators=(",", ":")).encode()


def _consistency(
    subject: Subject, checkpoint: Checkpoint, since: int | None, ledger: Ledger, tree: LedgerTree
) -> bytes:
    older = ledger.checkpoint_sizes(subject.client_ext_id, _MAX_OLDER_CHECKPOINTS)
    sizes = sorted({*older, *([since] if since else [])} - {checkpoint.size})
    shown = [
        {
            "size": size,
            "proof": [_text(node) for node in consistency_proof(size, checkpoint.size, tree.subtree)],
        }
        for size in sizes
        if size <= checkpoint.size
    ]
    return json.dumps(shown, separators=(",", ":")).encode()


def _summary(subject: Subject, checkpoint: Checkpoint, ledger: Ledger, count: int) -> Iterator[str]:
    beginning, end = _PAGE.format(
        user=escape(subject.user_ext_id),
        client=escape(subject.client_ext_id),
        size=checkpoint.size,
        made=checkpoint.made.isoformat(timespec="seconds"),
        root=_text(checkpoint.root),
        count=count,
        rows=_ROWS,
    ).split(_ROWS)
    yield beginning
    for item in history(subject, ledger=ledger):
        if item["position"] > checkpoint.size:
            break
        changes = "".join(
            f"<li>{escape(change['field'])}: {_value(change['from'])} → {_value(change['to'])}</li>"
            for change in item["changes"]
        )
        cells = (
            item["version"],
            item["position"],
            item["time"],
            item["type"],
            item["actor"],
            reason_text(item),
        )
        shown = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
        line_feed = "\n" if item["version"] > 1 else ""
        yield f"{line_feed}<tr>{shown}<td><ul>{changes}</ul></td></tr>"
    yield end


def _value(value: object) -> str:
    return "<i>nothing</i>" if value is None else f"<b>{escape(str(value))}</b>"


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Ticket of {user}: what happened</title>
<style>
body {{ font: 10pt/1.45 "Helvetica Neue", Arial, sans-serif; color: #1a1a1a; margin: 2rem auto; max-width: 68rem; padding: 0 1rem }}
h1 {{ font-size: 17pt; margin: 0 0 .3rem }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 1rem 0 1.5rem }}
dt {{ color: #555 }}
dd {{ margin: 0; overflow-wrap: anywhere }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid #ccc; overflow-wrap: anywhere }}
th {{ border-bottom: 2px solid #1a1a1a; white-space: nowrap }}
td:nth-child(-n+2) {{ text-align: right }}
td:nth-child(3) {{ white-space: nowrap }}
ul {{ margin: 0; padding: 0; list-style: none }}
tr {{ break-inside: avoid }}
thead {{ display: table-header-group }}
footer {{ margin-top: 1.5rem; color: #555 }}
@page {{ size: A4 landscape; margin: 14mm }}
</style>
</head>
<body>
<h1>What happened to the ticket of {user}</h1>
<dl>
<dt>Client</dt><dd>{client}</dd>
<dt>User</dt><dd>{user}</dd>
<dt>Events</dt><dd>{count}</dd>
<dt>Ledger signed</dt><dd>{made}, at {size} entries</dd>
<dt>Root</dt><dd>{root}</dd>
</dl>
<table>
<thead><tr><th>Version</th><th>Position</th><th>Time (UTC)</th><th>Event</th><th>Actor</th><th>Reason</th><th>What changed</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
<footer>This page is for reading. What proves it are the files beside it: verify them with verify_evidence.py. A hash of a
ticket is shown as its algorithm and a fingerprint.</footer>
</body>
</html>
"""
