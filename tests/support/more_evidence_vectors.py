"""Creates docs/evidence-vectors/more: evidence of less common ledgers, with keys and older checkpoints. Run once per format."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from application.record.checkpoint import checkpoint_text, make_checkpoint
from application.record.merkle import EMPTY_ROOT
from domain.shared.subject import Subject
from interface.outbound.keys.ledger_keys import LedgerKeys
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from interface.verify_evidence import Wrong, parse_keys, verify
from tests.support.evidence import open_store
from tests.support.evidence_vectors import DIRECTORY
from tests.support.evidence_zip import evidence_of
from tests.support.fakes import SUBJECT
from tests.support.service import Service, service_over

MORE = DIRECTORY / "more"
ENCODED = SUBJECT._replace(client_ext_id="Zürich (1)/é", user_ext_id="a/b+c ~é😀\u202e")


@dataclass(frozen=True)
class _Ledger:
    store: SqliteStore | PostgresStore
    service: Service
    keys: LedgerKeys

    def evidence(self, name: str, subject: Subject = SUBJECT) -> None:
        content = evidence_of(subject, ledger=self.store, signer=self.keys, clock=self.service.clock)
        (MORE / name).write_bytes(content)

    def checkpoint(self, name: str) -> None:
        made = make_checkpoint(
            SUBJECT.client_ext_id, ledger=self.store, signer=self.keys, clock=self.service.clock
        )
        assert made is not None
        (MORE / name).write_text(made.note)


@contextmanager
def _ledger(directory: Path) -> Iterator[_Ledger]:
    """Yield a new ledger; all have the same keys."""
    with tempfile.TemporaryDirectory() as own:
        store = open_store(f"sqlite:///{own}/tickets.db")
        with service_over(store) as service:
            keys = LedgerKeys(directory, "tickets.example", clock=service.clock, overlap=timedelta(days=30))
            yield _Ledger(store, service, keys)
        store.close()


def make() -> None:
    """Write the files."""
    MORE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        keys = Path(directory) / "keys"
        with _ledger(keys) as ledger:
            _deleted_and_created_again(ledger)
        with _ledger(keys) as ledger:
            _thousand_leaves(ledger)
        with _ledger(keys) as ledger:
            ledger.service.register(subject=ENCODED)
            ledger.service.create(subject=ENCODED)
            ledger.service.regenerate(subject=ENCODED, reason="verloren \u202e")
            ledger.evidence("encoded-ids.zip", ENCODED)
        with _ledger(keys) as ledger:
            _two_keys(ledger)
    (MORE / "vectors.json").write_text(json.dumps(_results(), indent=1, ensure_ascii=False) + "\n")


def _deleted_and_created_again(ledger: _Ledger) -> None:
    service = ledger.service
    (MORE / "first-key.txt").write_text(ledger.keys.public()[0][1] + "\n")
    service.register()
    service.create()
    service.regenerate()
    ledger.checkpoint("before-deletion.checkpoint")
    service.delete()
    service.create()
    ledger.evidence("deleted-and-created-again.zip")
    service.regenerate()
    ledger.checkpoint("larger.checkpoint")
    empty = checkpoint_text(f"tickets.example/{SUBJECT.client_ext_id}", 0, EMPTY_ROOT, None)
    (MORE / "empty.checkpoint").write_text(ledger.keys.sign(empty))
    wrong = checkpoint_text(f"tickets.example/{SUBJECT.client_ext_id}", 0, b"r" * 32, None)
    (MORE / "empty-with-a-root.checkpoint").write_text(ledger.keys.sign(wrong))


def _thousand_leaves(ledger: _Ledger) -> None:
    service = ledger.service
    for number in range(300):
        subject = SUBJECT._replace(user_ext_id=f"user-{number}")
        service.register(subject=subject)
        service.create(subject=subject)
        service.regenerate(subject=subject)
    ledger.checkpoint("600-leaves.checkpoint")
    for number in range(300, 700):
        subject = SUBJECT._replace(user_ext_id=f"user-{number}")
        service.register(subject=subject)
        service.create(subject=subject)
    ledger.evidence("1000-leaves.zip")


def _two_keys(ledger: _Ledger) -> None:
    service = ledger.service
    ledger.keys.rotate()
    service.clock.advance(timedelta(seconds=1))
    (MORE / "second-key.txt").write_text(ledger.keys.public()[0][1] + "\n")
    (MORE / "both-keys.txt").write_text("".join(f"{key}\n" for _, key in ledger.keys.public()))
    service.register()
    service.create()
    ledger.evidence("two-keys.zip")
    ledger.checkpoint("two-keys.checkpoint")
    service.clock.advance(timedelta(days=31))
    service.regenerate()
    ledger.evidence("after-the-overlap.zip")


# Evidence, key file, older checkpoint.
CASES = [
    ("deleted-and-created-again.zip", "first-key.txt", None),
    ("deleted-and-created-again.zip", "first-key.txt", "before-deletion.checkpoint"),
    ("deleted-and-created-again.zip", "first-key.txt", "empty.checkpoint"),
    ("deleted-and-created-again.zip", "first-key.txt", "empty-with-a-root.checkpoint"),
    ("deleted-and-created-again.zip", "first-key.txt", "larger.checkpoint"),
    ("1000-leaves.zip", "first-key.txt", "600-leaves.checkpoint"),
    ("1000-leaves.zip", "first-key.txt", "before-deletion.checkpoint"),
    ("encoded-ids.zip", "first-key.txt", None),
    ("encoded-ids.zip", "first-key.txt", "empty.checkpoint"),
    ("two-keys.zip", "first-key.txt", None),
    ("two-keys.zip", "second-key.txt", None),
    ("two-keys.zip", "both-keys.txt", None),
    ("after-the-overlap.zip", "first-key.txt", "two-keys.checkpoint"),
    ("after-the-overlap.zip", "second-key.txt", "two-keys.checkpoint"),
]


def _results() -> list[dict[str, str | None]]:
    found: list[dict[str, str | None]] = []
    for file, key, checkpoint in CASES:
        old = (MORE / checkpoint).read_bytes() if checkpoint else None
        try:
            verified = verify((MORE / file).read_bytes(), parse_keys((MORE / key).read_text()), old)
            result = f"VERIFIED: {verified}" + (", consistent with the older checkpoint" if old else "")
        except Wrong as wrong:
            result = f"NOT VERIFIED: {wrong}"
        found.append({"evidence": file, "key": key, "checkpoint": checkpoint, "result": result})
    return found


if __name__ == "__main__":
    make()
