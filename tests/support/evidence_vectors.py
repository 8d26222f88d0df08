"""Creates docs/evidence-vectors: valid and invalid evidence. Run once per format.

The invalid ones are signed with the right key if possible, so that the fault is found after the signature.
"""

import hashlib
import json
import tempfile
from datetime import timedelta
from pathlib import Path

from application.record.checkpoint import make_checkpoint
from application.record.evidence import FILES
from interface.outbound.keys.ledger_keys import LedgerKeys
from interface.verify_evidence import unzip
from tests.support.evidence import open_store
from tests.support.evidence_zip import evidence_of, zipped
from tests.support.fakes import SUBJECT
from tests.support.service import service_over

DIRECTORY = Path(__file__).parents[2] / "docs" / "evidence-vectors"


def make() -> None:
    """Write the files."""
    with tempfile.TemporaryDirectory() as directory:
        store = open_store(f"sqlite:///{directory}/tickets.db")
        with service_over(store) as service:
            clock = service.clock
            keys = LedgerKeys(Path(directory) / "keys", "tickets.example", clock=clock, overlap=timedelta())
            other = LedgerKeys(Path(directory) / "other", "tickets.example", clock=clock, overlap=timedelta())
            for number in range(3):
                subject = SUBJECT._replace(user_ext_id=f"user-12{3 + number}")
                service.register(subject=subject)
                service.create(subject=subject)
                service.regenerate(subject=subject, reason="lost letter")
            older = make_checkpoint(SUBJECT.client_ext_id, ledger=store, signer=keys, clock=clock)
            service.regenerate(reason="lost again")
            good = evidence_of(SUBJECT, ledger=store, signer=keys, clock=clock)
        store.close()
        assert older is not None
        write(good, older.note, keys, other)


def write(good: bytes, older: str, keys: LedgerKeys, other: LedgerKeys) -> None:
    """Write the good file, and each bad one made from it."""
    files = unzip(good)
    lines = files["events.jsonl"].splitlines(keepends=True)
    first = json.loads(lines[0])
    event = {**first, "proof": [first["proof"][-1], *first["proof"][1:]]}
    other_root = older.replace(older.split("\n")[2], "A" * 43 + "=")
    heads = json.loads(files["heads.json"])

    def signed(keys: LedgerKeys, **changes: bytes) -> bytes:
        changed = files | {name.replace("_", "."): content for name, content in changes.items()}
        head = files["manifest"].decode().split("sha256 ")[0]
        digests = "".join(
            f"sha256 {hashlib.sha256(changed[name]).hexdigest()} {name}\n" for name in FILES[1:]
        )
        return zipped(changed | {"manifest": keys.sign(head + digests).encode()})

    vectors: dict[str, tuple[bytes, str | None]] = {
        "good.zip": (good, None),
        "newest-event-missing.zip": (
            signed(keys, events_jsonl=b"".join(lines[:-1])),
            "the credential has 3 events, but 2 are here",
        ),
        "event-missing-between.zip": (
            signed(keys, events_jsonl=lines[0] + lines[2]),
            "event 2 is missing: there is version 3 in its place",
        ),
        "wrong-proof-node.zip": (
            signed(keys, events_jsonl=json.dumps(event).encode() + b"\n" + b"".join(lines[1:])),
            "event 1 (position 1, TicketCreated) is not in the signed ledger as it stands here",
        ),
        "changed-event.zip": (
            signed(
                keys,
                events_jsonl=lines[0].replace(b'"TicketCreated"', b'"TicketDeleted"') + b"".join(lines[1:]),
            ),
            "event 1 (position 1, TicketDeleted) is not in the signed ledger as it stands here",
        ),
        "false-head.zip": (
            signed(keys, heads_json=json.dumps({**heads, "version": 4}).encode()),
            "the newest version of the credential is not the one that was signed",
        ),
        "changed-after-signing.zip": (
            zipped(files | {"summary.html": files["summary.html"].replace(b"lost letter", b"lost ticket")}),
            "summary.html is not the file that was signed",
        ),
        "other-key.zip": (signed(other), "the manifest is not signed by the given key"),
        "byte-changed.zip": (good[:500] + bytes([good[500] ^ 1]) + good[501:], "the ZIP"),
    }
    DIRECTORY.mkdir(exist_ok=True)
    for name, (content, _) in vectors.items():
        (DIRECTORY / name).write_bytes(content)
    (DIRECTORY / "key.txt").write_text(keys.public()[0][1] + "\n")
    (DIRECTORY / "older.checkpoint").write_text(older)
    (DIRECTORY / "other-history.checkpoint").write_text(
        keys.sign("\n".join(other_root.split("\n")[:3]) + "\n")
    )
    reported = {name: wrong for name, (_, wrong) in vectors.items()}
    (DIRECTORY / "vectors.json").write_text(json.dumps(reported, indent=1) + "\n")


if __name__ == "__main__":
    make()
