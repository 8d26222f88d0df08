"""Checkpoints get to each witness, whatever another does; over both stores."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from application.record.checkpoint import CheckpointSender
from application.record.ledger import Checkpoint
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.evidence import open_store
from tests.support.fakes import NOW


@dataclass
class Witness:
    """Takes checkpoints, but for those of a client that it does not like, and while it is down."""

    refuses: str = ""
    down: bool = False
    asked: int = 0
    has: list[tuple[str, int]] = field(default_factory=list)

    def send(self, checkpoint: Checkpoint) -> None:
        self.asked += 1
        if self.down or checkpoint.client_ext_id == self.refuses:
            raise OSError("not now")
        self.has.append((checkpoint.client_ext_id, checkpoint.size))


@pytest.fixture
def store(database_url: str) -> Iterator[SqliteStore | PostgresStore]:
    store = open_store(database_url)
    yield store
    store.close()


def keep(store: SqliteStore | PostgresStore, client: str, size: int, note: str = "note") -> None:
    store.save_checkpoint(Checkpoint(client, size, b"r" * 32, f"{note} {client} {size}", NOW))


def test_a_witness_that_is_down_is_asked_once_and_keeps_nothing_from_the_other(
    store: SqliteStore | PostgresStore,
) -> None:
    for size in (1, 2, 3):
        keep(store, "a", size)
    down, well = Witness(down=True), Witness()
    sending = CheckpointSender(store, [down, well])

    assert sending.run() == 0
    assert well.has == [("a", 1), ("a", 2), ("a", 3)]
    assert down.asked == 1
    assert store.unsent_since() == NOW

    down.down = False
    for _ in range(2):
        sending.run()
    assert sorted(down.has) == well.has  # to which nothing came twice
    assert store.unsent_since() is None


def test_what_one_witness_never_takes_keeps_nothing_behind_it_from_it(
    store: SqliteStore | PostgresStore,
) -> None:
    for client in ("a", "b", "c"):
        keep(store, client, 1)
    witness = Witness(refuses="a")
    sending = CheckpointSender(store, [witness])

    assert [sending.run(), sending.run()] == [0, 2]
    assert witness.has == [("b", 1), ("c", 1)]


def test_all_are_reached_page_by_page_although_the_first_are_stuck(
    store: SqliteStore | PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.record.checkpoint._PAGE", 2)
    for size in range(1, 6):
        keep(store, "a", size)
    well = Witness()
    sending = CheckpointSender(store, [Witness(down=True), well])

    for _ in range(6):
        sending.run()

    assert well.has == [("a", size) for size in range(1, 6)]


def test_one_that_is_signed_anew_is_sent_anew(store: SqliteStore | PostgresStore) -> None:
    keep(store, "a", 1)
    down, well = Witness(down=True), Witness()
    sending = CheckpointSender(store, [down, well])
    sending.run()

    keep(store, "a", 1, "another note")
    sending.run()

    assert well.has == [("a", 1)] * 2


def test_a_stop_ends_it_before_the_next_is_sent(store: SqliteStore | PostgresStore) -> None:
    for size in (1, 2, 3):
        keep(store, "a", size)
    witness = Witness()

    assert CheckpointSender(store, [witness]).run(lambda: bool(witness.has)) == 1
    assert witness.has == [("a", 1)]


def test_what_is_remembered_is_bounded(
    store: SqliteStore | PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.record.checkpoint._REMEMBERED", 2)
    for size in range(1, 6):
        keep(store, "a", size)
    down, well = Witness(down=True), Witness()
    sending = CheckpointSender(store, [down, well])
    sending.run()
    down.down = False
    for _ in range(2):
        sending.run()

    assert store.unsent_since() is None
    assert set(down.has) == set(well.has) == {("a", size) for size in range(1, 6)}


def test_without_a_witness_nothing_is_sent(store: SqliteStore | PostgresStore) -> None:
    keep(store, "a", 1)

    assert CheckpointSender(store, []).run() == 0
