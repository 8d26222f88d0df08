"""Slow hashes under load are shared by clients and callers."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from threading import Event

import pytest

from application.shared.errors import Overloaded, ShareUsed
from application.tickets.minting import SlowHash, SlowWork
from application.tickets.slow_hashing import (
    MAX_WAITING,
    MAX_WAITING_PER_CLIENT,
    SlowHashing,
    SlowHashObserver,
)
from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from domain.shared.subject import Subject
from tests.support.fakes import TRACEPARENT, FakeSlowHash


@dataclass(frozen=True, kw_only=True)
class Hashed(Command):
    """A command that needs one slow hash."""

    prepared: bool = False


class Recorded(SlowHashObserver):
    """Records the waits and the refusals."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.refusals = 0

    def waited(self, seconds: float) -> None:
        self.waits.append(seconds)

    def refused(self) -> None:
        self.refusals += 1


class Load:
    """Commands that are submitted while the first hash is computed, and the order of the hashes."""

    def __init__(self) -> None:
        self.observer = Recorded()
        self.hashed: list[str] = []
        self.released = Event()
        self.tasks: list[asyncio.Task[Answer]] = []
        ticks = count()
        self.hashing = SlowHashing(self._execute, FakeSlowHash(), self.observer, lambda: next(ticks))

    async def _execute(self, command: Command) -> Answer:
        assert isinstance(command, Hashed)
        if command.prepared:
            return Answer(outcome=Outcome.CHANGED, body="{}", correlation_id=TRACEPARENT, request_digest="d")

        def finish(_: SlowHash) -> Command:
            assert self.released.wait(60)
            self.hashed.append(f"{command.subject.client_ext_id} {command.actor}")
            return replace(command, prepared=True)

        raise SlowWork(finish)

    async def submit(self, client: str, caller: str = "caller", number: int = 1) -> None:
        """Submit this number of commands; each waits for its turn when this returns."""
        for _ in range(number):
            command = Hashed(
                subject=Subject(client, "user"),
                actor=caller,
                correlation_id=TRACEPARENT,
                command_id="c",
                request_digest="d",
            )
            self.tasks.append(asyncio.create_task(self.hashing.execute(command)))
            await asyncio.sleep(0)

    async def results(self) -> list[Answer | BaseException]:
        """Compute the hashes; return the answer or the error of each command."""
        self.released.set()
        return await asyncio.gather(*self.tasks, return_exceptions=True)


def after(submissions: Callable[[Load], object]) -> tuple[Load, list[Answer | BaseException]]:
    async def run() -> tuple[Load, list[Answer | BaseException]]:
        load = Load()
        await submissions(load)  # type: ignore[misc]
        return load, await load.results()

    return asyncio.run(run())


def test_every_request_of_a_client_is_answered_while_another_floods() -> None:
    async def two_clients(load: Load) -> None:
        await load.submit("A", number=90)
        await load.submit("B", number=12)

    load, results = after(two_clients)

    of_a, of_b = results[:90], results[90:]
    assert all(isinstance(result, Answer) for result in of_b)
    assert Counter(map(type, of_a)) == {Answer: MAX_WAITING_PER_CLIENT + 1, ShareUsed: 25}
    assert load.hashed[1:25] == ["A caller", "B caller"] * 12
    assert load.observer.refusals == 25
    assert len(load.observer.waits) == 90 - 25 + 12
    assert all(seconds > 0 for seconds in load.observer.waits)


def test_a_caller_that_floods_gives_way_to_another_caller_of_its_client() -> None:
    async def two_callers(load: Load) -> None:
        await load.submit("A", "flood", number=MAX_WAITING_PER_CLIENT + 1)
        await load.submit("A", "desk", number=3)

    load, results = after(two_callers)

    assert all(isinstance(result, Answer) for result in results[-3:])
    assert load.hashed[1:7] == ["A flood", "A desk"] * 3
    assert load.observer.refusals == 3


def test_all_clients_together_are_bounded() -> None:
    async def many_clients(load: Load) -> None:
        for number in range(MAX_WAITING + 2):
            await load.submit(f"client-{number}")

    _, results = after(many_clients)

    assert [type(result) for result in results[-2:]] == [Answer, Overloaded]


def test_the_turn_of_a_cancelled_request_passes_on() -> None:
    async def cancelled(load: Load) -> None:
        await load.submit("A", number=3)
        load.tasks[1].cancel()

    _, results = after(cancelled)

    assert [type(result) for result in results] == [Answer, asyncio.CancelledError, Answer]


@pytest.mark.parametrize("number", [1, 2])
def test_the_thread_is_free_after_each_load(number: int) -> None:
    async def twice(load: Load) -> None:
        await load.submit("A", number=number)
        load.released.set()
        await asyncio.gather(*load.tasks)
        await load.submit("B")

    load, results = after(twice)

    assert all(isinstance(result, Answer) for result in results)
    assert load.hashed[-1] == "B caller"
