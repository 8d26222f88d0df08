"""Slow hashes under load are shared by clients and callers."""

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import count
from threading import Event, current_thread

import pytest
from msgspec.structs import replace

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


class Hashed(Command, frozen=True, kw_only=True):
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


class Failing(Recorded):
    """Raises at the first wait and at the first refusal."""

    def waited(self, seconds: float) -> None:
        super().waited(seconds)
        if len(self.waits) == 1:
            raise OSError("the metric cannot be written")

    def refused(self) -> None:
        super().refused()
        if self.refusals == 1:
            raise OSError("the metric cannot be written")


class Load:
    """Commands that are submitted while the first hash is computed, and the order of the hashes."""

    def __init__(self, observer: Recorded | None = None) -> None:
        self.observer = observer or Recorded()
        self.hashed: list[str] = []
        self.released = Event()
        self.tasks: list[asyncio.Task[Answer]] = []
        self.prepared: list[str] = []
        ticks = count()
        self.hashing = SlowHashing(
            self._execute,
            FakeSlowHash(),
            self.observer,
            lambda: next(ticks),
            prepare_thread=lambda: self.prepared.append(current_thread().name),
        )

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
        async with asyncio.timeout(60):
            return await asyncio.gather(*self.tasks, return_exceptions=True)


def after(
    submissions: Callable[[Load], object], observer: Recorded | None = None
) -> tuple[Load, list[Answer | BaseException]]:
    async def run() -> tuple[Load, list[Answer | BaseException]]:
        load = Load(observer)
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


def test_the_message_names_the_limit_that_was_reached() -> None:
    async def full(load: Load) -> None:
        for number in range(MAX_WAITING // MAX_WAITING_PER_CLIENT):
            await load.submit(f"client-{number}", number=MAX_WAITING_PER_CLIENT + (number == 0))
        await load.submit("client-1")
        await load.submit("newcomer")

    _, results = after(full)

    of_all, of_client = [str(result) for result in results if isinstance(result, ShareUsed)]
    assert of_client.startswith(f"At most {MAX_WAITING_PER_CLIENT} requests of one client")
    assert of_all.startswith(f"At most {MAX_WAITING} requests of all clients")


def test_an_observer_that_fails_does_not_stop_later_hashes() -> None:
    async def flood(load: Load) -> None:
        await load.submit("A", "flood", number=MAX_WAITING_PER_CLIENT + 2)
        await load.submit("A", "desk", number=2)

    _, results = after(flood, Failing())

    assert Counter(map(type, results)) == {
        Answer: MAX_WAITING_PER_CLIENT + 1,
        OSError: 2,
        ShareUsed: 1,
    }


def test_the_turn_of_a_cancelled_request_passes_on() -> None:
    async def cancelled(load: Load) -> None:
        await load.submit("A", number=3)
        load.tasks[1].cancel()

    _, results = after(cancelled)

    assert [type(result) for result in results] == [Answer, asyncio.CancelledError, Answer]


def test_a_displaced_request_that_is_cancelled_passes_no_turn_on() -> None:
    waits: list[int] = []

    async def displaced_and_cancelled(load: Load) -> None:
        await load.submit("A", "flood", number=MAX_WAITING_PER_CLIENT + 1)
        await load.submit("A", "desk")
        load.tasks[MAX_WAITING_PER_CLIENT].cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        waits.append(len(load.observer.waits))

    _, results = after(displaced_and_cancelled)

    assert waits == [1]  # only the first request has its turn
    assert Counter(map(type, results)) == {Answer: MAX_WAITING_PER_CLIENT + 1, asyncio.CancelledError: 1}


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


def test_the_thread_is_prepared_before_its_first_hash() -> None:
    async def two(load: Load) -> None:
        await load.submit("A", number=2)

    load, _ = after(two)

    assert load.prepared == ["slow-hash_0"]
