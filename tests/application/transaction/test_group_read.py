import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from application.shared.errors import StoreUnavailable, Unavailable
from application.transaction.group_read import GroupRead
from application.transaction.ports import Known
from domain.shared.subject import Subject
from tests.support.fakes import SUBJECT, FakeStore


class CountingStore(FakeStore):
    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        self.look_ups: list[Sequence[Subject]] = []
        self.failure: Exception | None = None

    def look_up(self, subjects: Sequence[Subject], commands: Any = (), deliveries: Any = ()) -> Known:
        self.look_ups.append(subjects)
        if self.failure:
            raise self.failure
        return super().look_up(subjects, commands, deliveries)


@pytest.mark.parametrize("reads_at_once", [True, False])
def test_reads_that_arrive_together_are_one_look_up(reads_at_once: bool) -> None:
    store = CountingStore(reads_at_once=reads_at_once)
    subjects = [SUBJECT._replace(user_ext_id=f"user-{number}") for number in range(5)]

    async def read() -> None:
        reads = GroupRead(store)
        await asyncio.gather(*[reads.look_up(subject) for subject in [*subjects, *subjects]])

    asyncio.run(read())

    assert [sorted(look_up) for look_up in store.look_ups] == [subjects]


def test_a_store_that_fails_is_said_to_every_reader_and_the_next_reads_again() -> None:
    store = CountingStore(reads_at_once=False)
    store.failure = StoreUnavailable("gone")

    async def read() -> list[Any]:
        reads = GroupRead(store)
        failed = await asyncio.gather(*[reads.look_up(SUBJECT) for _ in range(2)], return_exceptions=True)
        store.failure = None
        return [*failed, await reads.look_up(SUBJECT)]

    first, second, known = asyncio.run(read())

    assert isinstance(first, Unavailable)
    assert isinstance(second, Unavailable)
    assert known == Known()


def test_a_reader_that_leaves_harms_no_other() -> None:
    store = CountingStore(reads_at_once=False)

    async def read() -> Known:
        reads = GroupRead(store)
        leaving = asyncio.ensure_future(reads.look_up(SUBJECT))
        staying = asyncio.ensure_future(reads.look_up(SUBJECT))
        await asyncio.sleep(0)
        leaving.cancel()
        return await staying

    assert asyncio.run(read()) == Known()
