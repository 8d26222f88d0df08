import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from application.shared.errors import StoreUnavailable, Unavailable
from application.tickets.records import TICKETS
from application.transaction.group_read import GroupRead
from application.transaction.records import Load, LoadedState
from interface.composition.register import TABLES
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.fakes import SUBJECT

LOAD = [Load(TICKETS, SUBJECT)]


class CountingStore(SqliteStore):
    def __init__(self, path: Path) -> None:
        super().__init__(path, TABLES)
        self.loads: list[Sequence[Load]] = []
        self.failure: Exception | None = None

    def load(self, loads: Sequence[Load]) -> LoadedState:
        self.loads.append(loads)
        if self.failure:
            raise self.failure
        return super().load(loads)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CountingStore]:
    with closing(CountingStore(tmp_path / "tickets.db")) as store:
        yield store


@pytest.mark.parametrize("nonblocking", [True, False])
def test_concurrent_reads_share_one_look_up(store: CountingStore, nonblocking: bool) -> None:
    store.lookup_is_nonblocking = nonblocking
    loads = [Load(TICKETS, SUBJECT._replace(user_ext_id=f"user-{number}")) for number in range(5)]

    async def read() -> None:
        reads = GroupRead(store)
        await asyncio.gather(*[reads.load([load]) for load in [*loads, *loads]])

    asyncio.run(read())

    assert [sorted(found, key=lambda load: load.prefix) for found in store.loads] == [loads]


def test_a_store_failure_is_reported_to_every_reader_and_not_cached(
    store: CountingStore,
) -> None:
    store.lookup_is_nonblocking = False
    store.failure = StoreUnavailable("gone")

    async def read() -> list[Any]:
        reads = GroupRead(store)
        failed = await asyncio.gather(*[reads.load(LOAD) for _ in range(2)], return_exceptions=True)
        store.failure = None
        return [*failed, await reads.load(LOAD)]

    first, second, found = asyncio.run(read())

    assert isinstance(first, Unavailable)
    assert isinstance(second, Unavailable)
    assert found.all(TICKETS) == {}


def test_a_cancelled_read_does_not_affect_the_others(store: CountingStore) -> None:
    store.lookup_is_nonblocking = False

    async def read() -> LoadedState:
        reads = GroupRead(store)
        leaving = asyncio.ensure_future(reads.load(LOAD))
        staying = asyncio.ensure_future(reads.load(LOAD))
        await asyncio.sleep(0)
        leaving.cancel()
        return await staying

    assert asyncio.run(read()).all(TICKETS) == {}
