"""The trees of stream heads that are kept in memory equal those computed from the complete ledger."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from application.record.ledger import LedgerBroken, head_leaf
from application.record.merkle import EMPTY_ROOT, inclusion_proof, root_of, subtree_of
from application.record.stream_heads import HeadsTree, StreamHeads
from domain.tickets.events import stream_id
from interface.outbound.files.head_files import HeadFiles
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.evidence import open_store
from tests.support.fakes import SUBJECT
from tests.support.service import Service, service_over

CLIENT = SUBJECT.client_ext_id
OTHERS = [SUBJECT._replace(user_ext_id=f"user-{number}") for number in range(20)]


@pytest.fixture
def service(sqlite_url: str) -> Iterator[Service]:
    store = open_store(sqlite_url)
    with service_over(store) as service:
        for subject in OTHERS:
            service.register(subject=subject)
            service.create(subject=subject)
        yield service
    store.close()


def assert_equal(tree: HeadsTree, heads: dict[UUID, int]) -> None:
    sorted_heads = sorted(heads.items())
    leaves = [head_leaf(*head) for head in sorted_heads]
    assert tree.root() == (len(leaves), root_of(leaves))
    for index, (stream, version) in enumerate(sorted_heads):
        found = tree.proof(stream)
        assert found is not None
        assert (found.version, found.index) == (version, index)
        assert list(found.proof) == inclusion_proof(index, len(leaves), subtree_of(leaves))


def test_a_tree_with_changed_and_inserted_streams_equals_a_new_one(chance: random.Random) -> None:
    for _ in range(60):
        heads: dict[UUID, int] = {}
        tree = HeadsTree()
        assert tree.root() == (0, EMPTY_ROOT)
        for _ in range(6):
            known = chance.sample(sorted(heads), min(len(heads), chance.randrange(4)))
            new = [UUID(int=chance.getrandbits(128)) for _ in range(chance.randrange(5))]
            changed = {stream: heads.get(stream, 0) + chance.randrange(1, 4) for stream in (*known, *new)}
            tree.apply(sorted(changed.items()))
            heads |= changed
            if heads:
                assert_equal(tree, heads)
        assert tree.proof(UUID(int=0)) is None


def test_the_newest_entries_are_read_and_a_restored_ledger_is_read_again(
    service: Service, sqlite_url: str
) -> None:
    ledger, kept = service.store, StreamHeads()
    assert isinstance(ledger, SqliteStore)
    for expected in (42, 44):
        new = SUBJECT._replace(user_ext_id=f"new-{expected}")
        before = ledger.size(CLIENT)
        kept.root(CLIENT, before, ledger)
        service.register(subject=new)
        service.create(subject=new)
        service.regenerate(subject=OTHERS[3])
        size = ledger.size(CLIENT)
        for wanted in (size, before, size):
            assert kept.root(CLIENT, wanted, ledger) == StreamHeads().root(CLIENT, wanted, ledger)
        assert kept.root(CLIENT, size, ledger)[0] == expected
    count, proof = kept.proof(CLIENT, size, stream_id(*OTHERS[3]), ledger)
    assert (count, proof.version) == (44, 3)
    with pytest.raises(LedgerBroken, match="lacks a stream"):
        kept.proof(CLIENT, size, UUID(int=1), ledger)

    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as store:
        store.execute("UPDATE ledger SET leaf = zeroblob(32) WHERE position = ?", (size,))
        store.execute("DELETE FROM ledger WHERE user_ext_id = ?", (OTHERS[0].user_ext_id,))
        store.commit()
    assert kept.root(CLIENT, size, ledger)[0] == 42


def test_the_trees_that_were_not_used_for_longest_are_dropped(service: Service) -> None:
    for client in ("second", "third"):
        for number in range(20):
            subject = SUBJECT._replace(client_ext_id=client, user_ext_id=f"user-{number}")
            service.register(subject=subject)
            service.create(subject=subject)
    kept = StreamHeads(max_streams=45)

    for client in (CLIENT, "second", CLIENT, "third"):
        kept.root(client, 20, service.store)

    assert list(kept._trees) == [CLIENT, "third"]


def saved_in(directory: Path) -> StreamHeads:
    return StreamHeads(saved=HeadFiles(directory), min_saved=10)


def test_a_new_process_continues_from_the_saved_tree(service: Service, tmp_path: Path) -> None:
    ledger = service.store
    before = ledger.size(CLIENT)
    saved_in(tmp_path / "heads").root(CLIENT, before, ledger)
    service.regenerate(subject=OTHERS[3])
    size = ledger.size(CLIENT)
    read = []

    class Recorded:
        def __getattr__(self, name: str) -> object:
            return getattr(ledger, name)

        def heads(self, client_ext_id: str, after: int, size: int) -> object:
            read.append((after, size))
            return ledger.heads(client_ext_id, after, size)

    found = saved_in(tmp_path / "heads").proof(CLIENT, size, stream_id(*OTHERS[3]), Recorded())  # type: ignore[arg-type]

    assert read == [(before, size)]
    assert found == StreamHeads().proof(CLIENT, size, stream_id(*OTHERS[3]), ledger)


def test_a_tree_for_a_former_size_does_not_replace_the_saved_one(service: Service, tmp_path: Path) -> None:
    ledger, size = service.store, service.store.size(CLIENT)
    kept = saved_in(tmp_path / "heads")
    kept.root(CLIENT, size, ledger)
    content = {path: path.read_bytes() for path in (tmp_path / "heads").iterdir()}

    kept.root(CLIENT, size - 1, ledger)

    assert {path: path.read_bytes() for path in (tmp_path / "heads").iterdir()} == content


@pytest.mark.parametrize(
    "damage", ["empty", "short", "changed", "other format", "many streams", "no streams"]
)
def test_a_damaged_saved_tree_is_not_used(service: Service, tmp_path: Path, damage: str) -> None:
    ledger, size = service.store, service.store.size(CLIENT)
    expected = saved_in(tmp_path / "heads").root(CLIENT, size, ledger)
    [file] = [path for path in (tmp_path / "heads").iterdir() if path.name != ".lock"]
    content = file.read_bytes()
    damaged = {
        "empty": b"",
        "short": content[:-1],
        "changed": content[:-1] + bytes([content[-1] ^ 1]),
        # Behind the format and the number of entries.
        "many streams": content[:24] + b"\x7f" + content[25:],
        "no streams": content[:24] + bytes(8) + content[32:],
        "other format": content.replace(b"heads-1", b"heads-2"),
    }
    file.write_bytes(damaged[damage])

    assert saved_in(tmp_path / "heads").root(CLIENT, size, ledger) == expected
    # The tree that was built is saved again.
    assert file.read_bytes() == content


def test_a_saved_tree_is_not_used_after_a_restore(service: Service, sqlite_url: str, tmp_path: Path) -> None:
    ledger, size = service.store, service.store.size(CLIENT)
    saved_in(tmp_path / "heads").root(CLIENT, size, ledger)

    assert saved_in(tmp_path / "heads").root(CLIENT, size - 1, ledger) == StreamHeads().root(
        CLIENT, size - 1, ledger
    )
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as store:
        store.execute("UPDATE ledger SET leaf = zeroblob(32) WHERE position = ?", (size - 1,))
        store.execute("DELETE FROM ledger WHERE user_ext_id = ?", (OTHERS[0].user_ext_id,))
        store.commit()
    assert saved_in(tmp_path / "heads").root(CLIENT, size, ledger) == StreamHeads().root(CLIENT, size, ledger)


def test_a_directory_that_cannot_be_written_is_logged(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    size = service.store.size(CLIENT)

    for directory in (tmp_path / "file", tmp_path / "file" / "heads"):
        assert saved_in(directory).root(CLIENT, size, service.store) == StreamHeads().root(
            CLIENT, size, service.store
        )

    assert "the tree of stream heads cannot be saved" in caplog.text
