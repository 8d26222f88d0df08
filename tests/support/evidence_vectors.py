"""Creates docs/evidence-vectors/v2: valid and invalid evidence, with keys and older checkpoints. Run once per format.

The invalid ones are signed with the right key, so that the fault is found after the signature.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from application.record.checkpoint import checkpoint_text, make_checkpoint
from application.record.evidence_scope import EvidenceScope, evidence_scope
from application.record.ledger import LedgerTree
from application.record.merkle import EMPTY_ROOT, shared_proof
from application.subscriptions.define_subscription import DefineSubscription
from domain.policies.policy_definition import policy_stream_id
from domain.shared.subject import Subject
from domain.subscriptions.subscription import Method
from interface.outbound.keys.ledger_keys import LedgerKeys
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from interface.verify_evidence import Wrong, parse_keys, unzip, verify
from tests.support.evidence import open_store
from tests.support.evidence_zip import evidence_of, manifest_of, zipped
from tests.support.fakes import SUBJECT
from tests.support.service import Service, command, service_over
from tests.support.stores import begin_era

VECTORS = Path(__file__).parents[2] / "docs" / "evidence-vectors"
DIRECTORY = VECTORS / "v2"
CLIENT = SUBJECT.client_ext_id
ENCODED = SUBJECT._replace(client_ext_id="Zürich (1)/é", user_ext_id="a/b+c ~é😀\u202e")


@dataclass(frozen=True)
class _Ledger:
    store: SqliteStore | PostgresStore
    service: Service
    keys: LedgerKeys

    def evidence(
        self, name: str, scope: Subject | EvidenceScope = SUBJECT, since: int | None = None
    ) -> bytes:
        ports = {"ledger": self.store, "signer": self.keys, "clock": self.service.clock}
        content = evidence_of(scope, since=since, **ports)
        (DIRECTORY / name).write_bytes(content)
        return content

    def checkpoint(self, name: str) -> None:
        made = make_checkpoint(CLIENT, ledger=self.store, signer=self.keys, clock=self.service.clock)
        assert made is not None
        (DIRECTORY / name).write_text(made.note)


@contextmanager
def _ledger(keys: Path, database: Path) -> Iterator[_Ledger]:
    """Yield a ledger; all have the same keys."""
    store = open_store(f"sqlite:///{database}")
    with service_over(store) as service:
        yield _Ledger(
            store,
            service,
            LedgerKeys(keys, "tickets.example", clock=service.clock, overlap=timedelta(days=30)),
        )
    store.close()


def make() -> None:
    """Write the files."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for number, fill in enumerate((_each_scope, _deleted_and_created_again, _thousand_leaves, _encoded)):
            with _ledger(directory / "keys", directory / f"{number}.db") as ledger:
                fill(ledger)
        _restored(directory)
        with _ledger(directory / "keys", directory / "two-keys.db") as ledger:
            _two_keys(ledger)
    (DIRECTORY / "vectors.json").write_text(json.dumps(_results(), indent=1, ensure_ascii=False) + "\n")


def _each_scope(ledger: _Ledger) -> None:
    service = ledger.service
    (DIRECTORY / "first-key.txt").write_text(ledger.keys.public()[0][1] + "\n")
    for user in ("user-123", "user-124"):
        service.register(subject=Subject(CLIENT, user))
        service.create(subject=Subject(CLIENT, user))
    service.define("letters")
    service.execute(command(DefineSubscription, name="siem", method=Method.SET_POLL))
    ledger.checkpoint("older.checkpoint")
    for reason in ("lost letter", "lost again"):
        service.regenerate(reason=reason)
    service.define("letters", reason="as asked")
    ledger.evidence("text-present.zip")
    ledger.store._run("DELETE FROM details WHERE version = 2", [()])
    files = unzip(ledger.evidence("user.zip"))
    ledger.evidence("policy.zip", evidence_scope(CLIENT, policy="letters"))
    ledger.evidence("subscription.zip", evidence_scope(CLIENT, subscription="siem"))
    ledger.evidence("stream.zip", evidence_scope(CLIENT, stream=str(policy_stream_id(CLIENT, "letters"))))
    ledger.evidence("one-entry.zip", evidence_scope(CLIENT, first=5, last=5))
    ledger.evidence("all-entries.zip", evidence_scope(CLIENT))
    entries = unzip(ledger.evidence("entries.zip", evidence_scope(CLIENT, first=3, last=6)))
    lines, sizes = files["events.jsonl"].splitlines(keepends=True), json.loads(files["consistency.json"])
    positions = [json.loads(line)["position"] for line in lines]
    size, tree = ledger.store.size(CLIENT), LedgerTree(ledger.store, CLIENT)
    proof = shared_proof(positions[:-1], sizes, size, tree.subtree)
    fewer = {**files, "events.jsonl": b"".join(lines[:-1]), "nodes": b"".join(proof), "details.jsonl": b""}
    for name, changed in {"newest-event-missing.zip": fewer, **_invalid(files, entries)}.items():
        signed = changed | {"manifest": manifest_of(changed, ledger.keys.sign)}
        (DIRECTORY / name).write_bytes(zipped(signed))


def _invalid(files: Mapping[str, bytes], entries: Mapping[str, bytes]) -> Mapping[str, dict[str, bytes]]:
    events = files["events.jsonl"].splitlines(keepends=True)
    listed = entries["events.jsonl"].splitlines(keepends=True)
    heads = json.loads(files["heads.json"])
    false_head = json.dumps({**heads, "version": 4}, separators=(",", ":")).encode()
    text = b'{"position":%d,"salt":"AAAAAAAAAAAAAAAAAAAAAA==","reason":"lost letter"}\n'
    of_another = {**files, "manifest": files["manifest"].replace(b"user user-123", b"user user-124")}
    return {
        "event-missing-between.zip": {**files, "events.jsonl": events[0] + events[2]},
        "event-of-another-stream.zip": of_another,
        "changed-event.zip": {
            **files,
            "events.jsonl": files["events.jsonl"].replace(b'"reset_count":1', b'"reset_count":9'),
        },
        "changed-node.zip": {**files, "nodes": bytes([files["nodes"][0] ^ 1]) + files["nodes"][1:]},
        "node-missing.zip": {**files, "nodes": files["nodes"][:-32]},
        "node-too-many.zip": {**files, "nodes": files["nodes"] + bytes(32)},
        "false-head.zip": {**files, "heads.json": false_head},
        "text-without-commitment.zip": {
            **files,
            "details.jsonl": text % json.loads(events[0])["position"],
        },
        "changed-text.zip": {**files, "details.jsonl": files["details.jsonl"].replace(b"lost", b"Lost")},
        "size-too-large.zip": {**files, "consistency.json": b"[4,1000]"},
        "blank.zip": {**files, "consistency.json": b"[4, 5]"},
        "entry-missing-between.zip": {**entries, "events.jsonl": listed[0] + b"".join(listed[2:])},
        "last-entry-missing.zip": {**entries, "events.jsonl": b"".join(listed[:-1])},
        "entries-with-heads.zip": {**entries, "heads.json": files["heads.json"]},
    }


def _deleted_and_created_again(ledger: _Ledger) -> None:
    service = ledger.service
    service.register()
    service.create()
    service.regenerate()
    ledger.checkpoint("before-deletion.checkpoint")
    service.delete()
    service.create()
    ledger.evidence("deleted-and-created-again.zip")
    service.regenerate()
    ledger.checkpoint("larger.checkpoint")
    for name, root in (("empty", EMPTY_ROOT), ("empty-with-a-root", b"r" * 32)):
        text = checkpoint_text(f"tickets.example/{CLIENT}", 0, root, None)
        (DIRECTORY / f"{name}.checkpoint").write_text(ledger.keys.sign(text))


def _thousand_leaves(ledger: _Ledger) -> None:
    service = ledger.service
    for number in range(700):
        subject = SUBJECT._replace(user_ext_id=f"user-{number}")
        service.register(subject=subject)
        service.create(subject=subject)
        if number < 300:
            service.regenerate(subject=subject)
        if number == 299:
            ledger.checkpoint("600-leaves.checkpoint")
    ledger.evidence("1000-leaves.zip")
    ledger.evidence("leaves-250-to-270.zip", evidence_scope(CLIENT, first=250, last=270))


def _encoded(ledger: _Ledger) -> None:
    ledger.service.register(subject=ENCODED)
    ledger.service.create(subject=ENCODED)
    ledger.service.regenerate(subject=ENCODED, reason='"verloren"\n\\ \x01\x7f\u202e')
    ledger.evidence("encoded-ids.zip", ENCODED)


def _restored(directory: Path) -> None:
    """Write the evidence of a ledger that was restored from a copy, with a checkpoint of before and one of the lost entries."""
    keys, lost, restored = directory / "keys", directory / "lost.db", directory / "restored.db"
    with _ledger(keys, lost) as ledger:
        ledger.service.register()
        ledger.service.create()
        ledger.service.regenerate()
        ledger.checkpoint("before-the-copy.checkpoint")
    shutil.copy(lost, restored)
    with _ledger(keys, lost) as ledger:
        ledger.service.regenerate()
        ledger.checkpoint("lost-entry.checkpoint")
    with _ledger(keys, restored) as ledger:
        begin_era(ledger.store, "restored", ledger.service.clock())
        for _ in range(2):
            ledger.service.regenerate()
        ledger.evidence("restored.zip", since=3)


def _two_keys(ledger: _Ledger) -> None:
    service = ledger.service
    ledger.keys.rotate()
    service.clock.advance(timedelta(seconds=1))
    (DIRECTORY / "second-key.txt").write_text(ledger.keys.public()[0][1] + "\n")
    (DIRECTORY / "both-keys.txt").write_text("".join(f"{key}\n" for _, key in ledger.keys.public()))
    service.register()
    service.create()
    ledger.evidence("two-keys.zip")
    ledger.checkpoint("two-keys.checkpoint")
    service.clock.advance(timedelta(days=31))
    service.regenerate()
    ledger.evidence("after-the-overlap.zip")


# Evidence, key file, older checkpoint; the others need the first key and no checkpoint.
CASES = [
    ("user.zip", "first-key.txt", "older.checkpoint"),
    ("entries.zip", "first-key.txt", "older.checkpoint"),
    ("deleted-and-created-again.zip", "first-key.txt", "before-deletion.checkpoint"),
    ("deleted-and-created-again.zip", "first-key.txt", "empty.checkpoint"),
    ("deleted-and-created-again.zip", "first-key.txt", "empty-with-a-root.checkpoint"),
    ("deleted-and-created-again.zip", "first-key.txt", "larger.checkpoint"),
    ("deleted-and-created-again.zip", "first-key.txt", "lost-entry.checkpoint"),
    ("1000-leaves.zip", "first-key.txt", "600-leaves.checkpoint"),
    ("1000-leaves.zip", "first-key.txt", "before-deletion.checkpoint"),
    ("leaves-250-to-270.zip", "first-key.txt", "600-leaves.checkpoint"),
    ("encoded-ids.zip", "first-key.txt", "empty.checkpoint"),
    ("restored.zip", "first-key.txt", "before-the-copy.checkpoint"),
    ("restored.zip", "first-key.txt", "lost-entry.checkpoint"),
    ("two-keys.zip", "second-key.txt", None),
    ("two-keys.zip", "both-keys.txt", None),
    ("after-the-overlap.zip", "first-key.txt", "two-keys.checkpoint"),
    ("after-the-overlap.zip", "second-key.txt", "two-keys.checkpoint"),
]


def _results() -> list[dict[str, str | None]]:
    cases = [(file.name, "first-key.txt", None) for file in sorted(DIRECTORY.glob("*.zip"))] + CASES
    found: list[dict[str, str | None]] = []
    for file, key, checkpoint in cases:
        old = (DIRECTORY / checkpoint).read_bytes() if checkpoint else None
        keys = parse_keys((DIRECTORY / key).read_text())
        try:
            verified = verify((DIRECTORY / file).read_bytes(), keys, old)
            result = f"VERIFIED: {verified}" + (", consistent with the older checkpoint" if old else "")
        except Wrong as wrong:
            result = f"NOT VERIFIED: {wrong}"
        found.append({"evidence": file, "key": key, "checkpoint": checkpoint, "result": result})
    return found


if __name__ == "__main__":
    make()
