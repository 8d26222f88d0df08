"""Checkpoints are sent to each witness independently of the others; on both stores."""

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
    """Accepts checkpoints unless it is down or rejects their client."""

    refuses: str = ""
    down: bool = False
    fault: Exception = field(default_factory=lambda: OSError("not now"))
    asked: int = 0
    has: list[tuple[str, int]] = field(default_factory=list)
    is_remote: bool = True

    def send(self, checkpoint: Checkpoint) -> None:
        self.asked += 1
        if self.down or checkpoint.client_ext_id == self.refuses:
            raise self.fault
        self.has.append((checkpoint.client_ext_id, checkpoint.size))


@pytest.fixture
def store(database_url: str) -> Iterator[SqliteStore | PostgresStore]:
    store = open_store(database_url)
    yield store
    store.close()


def keep(store: SqliteStore | PostgresStore, client: str, size: int, note: str = "note") -> None:
    store.save_checkpoint(Checkpoint(client, size, b"r" * 32, f"{note} {client} {size}", NOW))


def test_an_unavailable_witness_is_tried_once_and_does_not_block_the_other(
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
    assert sorted(down.has) == well.has  # received nothing twice
    assert store.unsent_since() is None


@pytest.mark.parametrize("fault", [OSError("not now"), RecursionError(), ValueError("nonsense")])
def test_a_witness_that_keeps_failing_is_tried_less_and_less_often(
    store: SqliteStore | PostgresStore, fault: Exception
) -> None:
    for size in (1, 2):
        keep(store, "a", size)
    down, well = Witness(down=True, fault=fault), Witness()
    sending = CheckpointSender(store, [down, well])

    tries = []
    for _ in range(16):
        sending.run()
        tries.append(down.asked)
    assert tries == [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5]
    assert well.has == [("a", 1), ("a", 2)]

    down.down = False
    for _ in range(17):
        sending.run()
    assert sorted(down.has) == well.has
    assert store.unsent_since() is None


def test_a_directory_receives_its_checkpoints_in_the_first_run_after_a_full_disk(
    store: SqliteStore | PostgresStore,
) -> None:
    keep(store, "a", 1)
    directory = Witness(down=True, fault=OSError("no space left"), is_remote=False)
    sending = CheckpointSender(store, [directory])
    for _ in range(9):
        sending.run()
    assert directory.asked == 9

    directory.down = False
    assert sending.run() == 1


def test_a_rejected_checkpoint_does_not_block_later_ones(
    store: SqliteStore | PostgresStore,
) -> None:
    for client in ("a", "b", "c"):
        keep(store, client, 1)
    witness = Witness(refuses="a")
    sending = CheckpointSender(store, [witness])

    assert [sending.run(), sending.run()] == [0, 2]
    assert witness.has == [("b", 1), ("c", 1)]


def test_stuck_checkpoints_do_not_block_the_next_page(
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


def test_a_checkpoint_that_is_signed_again_is_sent_again(store: SqliteStore | PostgresStore) -> None:
    keep(store, "a", 1)
    down, well = Witness(down=True), Witness()
    sending = CheckpointSender(store, [down, well])
    sending.run()

    keep(store, "a", 1, "another note")
    sending.run()

    assert well.has == [("a", 1)] * 2


def test_a_stop_prevents_the_next_send(store: SqliteStore | PostgresStore) -> None:
    for size in (1, 2, 3):
        keep(store, "a", size)
    witness = Witness()

    assert CheckpointSender(store, [witness]).run(lambda: bool(witness.has)) == 1
    assert witness.has == [("a", 1)]


def test_the_memory_of_sent_checkpoints_is_bounded(
    store: SqliteStore | PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.record.checkpoint._MAX_REMEMBERED", 2)
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
