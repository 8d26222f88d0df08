"""The nodes of proofs that are kept in memory equal those computed from the ledger."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from application.record.ledger import LedgerTree
from application.record.proof_nodes import ProofNodes
from tests.support.evidence import open_store
from tests.support.fakes import SUBJECT
from tests.support.service import Service, service_over

CLIENT = SUBJECT.client_ext_id
SIZE = 12


@pytest.fixture
def service(sqlite_url: str) -> Iterator[Service]:
    store = open_store(sqlite_url)
    with service_over(store) as service:
        service.register()
        service.create()
        for _ in range(SIZE - 1):
            service.regenerate()
        yield service
    store.close()


def change_leaf(sqlite_url: str, position: int) -> None:
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as store:
        store.execute("UPDATE ledger SET leaf = zeroblob(32) WHERE position = ?", (position,))
        store.commit()


def test_complete_subtrees_are_kept_until_the_ledger_is_restored(service: Service, sqlite_url: str) -> None:
    ledger, kept = service.store, ProofNodes()
    first = {span: kept.of(CLIENT, SIZE, ledger)(*span) for span in ((0, 8), (8, 12), (8, 11), (3, 4))}
    assert first == {span: LedgerTree(ledger, CLIENT).subtree(*span) for span in first}
    change_leaf(sqlite_url, 2)
    change_leaf(sqlite_url, 9)

    again = kept.of(CLIENT, SIZE, ledger)

    assert [again(*span) == node for span, node in first.items()] == [True, True, False, True]
    change_leaf(sqlite_url, SIZE)
    assert kept.of(CLIENT, SIZE, ledger)(0, 8) == LedgerTree(ledger, CLIENT).subtree(0, 8) != first[0, 8]


def test_the_nodes_are_bounded(service: Service) -> None:
    for client in ("second", "third"):
        subject = SUBJECT._replace(client_ext_id=client)
        service.register(subject=subject)
        service.create(subject=subject)
        service.regenerate(subject=subject)
    kept = ProofNodes(max_nodes=3)

    for index in range(SIZE):
        kept.of(CLIENT, SIZE, service.store)(index, index + 1)
    for client in ("second", "third"):
        kept.of(client, 2, service.store)(0, 2)

    assert {client: len(found.nodes) for client, found in kept._clients.items()} == {"second": 1, "third": 1}
