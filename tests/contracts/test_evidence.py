"""Evidence on both stores: it is consistent with older checkpoints of any age, and its cost is bounded."""

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from application.record.checkpoint import checkpoint_text, make_checkpoint
from application.record.evidence import EvidenceTooLarge
from application.record.ledger import Checkpoint, LedgerTree
from interface.outbound.keys.ledger_keys import LedgerKeys
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from interface.verify_evidence import Wrong, parse_keys, verify
from tests.support.evidence import open_store
from tests.support.evidence_zip import evidence_of
from tests.support.fakes import NOW, SUBJECT
from tests.support.service import Service, service_over

CLIENT = SUBJECT.client_ext_id


@pytest.fixture
def store(database_url: str) -> Iterator[SqliteStore | PostgresStore]:
    store = open_store(database_url)
    yield store
    store.close()


@pytest.fixture
def service(store: SqliteStore | PostgresStore) -> Iterator[Service]:
    with service_over(store) as service:
        service.register()
        service.create()
        yield service


@pytest.fixture
def keys(service: Service, tmp_path: Path) -> LedgerKeys:
    return LedgerKeys(tmp_path / "keys", "tickets", clock=service.clock, overlap=timedelta())


def test_the_evidence_is_consistent_with_each_of_70_checkpoints(
    store: SqliteStore | PostgresStore, service: Service, keys: LedgerKeys
) -> None:
    kept = []
    for _ in range(70):
        service.regenerate()
        made = make_checkpoint(CLIENT, ledger=store, signer=keys, clock=service.clock)
        assert made is not None
        kept.append(made.note.encode())
    service.regenerate()

    content = evidence_of(SUBJECT, ledger=store, signer=keys, clock=service.clock)

    public = parse_keys(keys.public()[0][1])
    for note in kept:
        assert verify(content, public, note).events == 72


def test_evidence_that_a_verifier_would_not_read_is_refused(
    store: SqliteStore | PostgresStore, service: Service, keys: LedgerKeys
) -> None:
    ports = {"ledger": store, "signer": keys, "clock": service.clock}

    with pytest.raises(EvidenceTooLarge, match="has more than 500 bytes"):
        evidence_of(SUBJECT, max_bytes=500, **ports)


def test_the_evidence_among_thousands_of_checkpoints_has_a_bounded_number_of_proofs(
    store: SqliteStore | PostgresStore, service: Service, keys: LedgerKeys
) -> None:
    for _ in range(600):
        service.regenerate()
    signed = make_checkpoint(CLIENT, ledger=store, signer=keys, clock=service.clock)
    assert signed is not None
    row = "INSERT INTO checkpoints (client_ext_id, size, root, note, made, sent) SELECT ?, ?, root, note, made, 1 FROM checkpoints WHERE size = 602"
    store._run(row, [(CLIENT, size) for size in range(1, 602)])
    more = [Checkpoint("other", size, b"r" * 32, "note", NOW) for size in range(1, 5)]
    for checkpoint in more:
        store.save_checkpoint(checkpoint)

    few, all_of_other = store.checkpoint_sizes(CLIENT, 64), store.checkpoint_sizes("other", 64)

    assert all_of_other == [1, 2, 3, 4]
    assert len(few) <= 64
    assert list(few) == sorted(set(few))
    assert list(few[:16]) == list(range(1, 17))
    assert list(few[-32:]) == list(range(571, 603))
    gaps = [newer - older for older, newer in itertools.pairwise(few)]
    assert max(gaps) <= 40

    without = evidence_of(SUBJECT, ledger=store, signer=keys, clock=service.clock)
    public = parse_keys(keys.public()[0][1])
    skipped = next(size for size in range(100, 500) if size not in store.checkpoint_sizes(CLIENT, 256))
    root = LedgerTree(store, CLIENT).subtree(0, skipped)
    old = keys.sign(checkpoint_text(f"tickets/{CLIENT}", skipped, root, None)).encode()
    with pytest.raises(Wrong, match=rf"no proof from a checkpoint of {skipped} entries: export it again"):
        verify(without, public, old)
    content = evidence_of(SUBJECT, ledger=store, signer=keys, clock=service.clock, since=skipped)
    assert verify(content, public, old).events == 601
