"""Whether a process is ready is asked often and looked at seldom, and nobody who asks is kept waiting for long."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from application.operations import readiness
from application.operations.readiness import NotReady, Probe, Readiness

OF_A_REQUEST: ContextVar[str] = ContextVar("OF_A_REQUEST")


class Check:
    """Counts how often it is run; while its gate is closed it hangs, and it raises what a test says."""

    def __init__(self) -> None:
        self.runs = 0
        self.contexts: list[str | None] = []
        self.wrong: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> None:
        self.runs += 1
        self.contexts.append(OF_A_REQUEST.get(None))
        self.gate.wait(30)
        if self.wrong:
            raise self.wrong


@pytest.fixture
def check() -> Iterator[Check]:
    made = Check()
    yield made
    made.gate.set()


def kept_for(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_CACHE_SECONDS", seconds)


def test_all_is_well_where_every_check_holds(check: Check) -> None:
    found = asyncio.run(Probe({"store": check, "keys": check})())

    assert found.ready
    assert found.checks == {"store": "ok", "keys": "ok"}


def test_what_was_found_is_kept_for_a_second_and_not_longer(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> list[int]:
        probe = Probe({"store": check})
        runs = []
        for _ in range(2):
            await probe()
            runs.append(check.runs)
        kept_for(-1, monkeypatch)  # a second later
        await probe()
        return [*runs, check.runs]

    assert readiness._CACHE_SECONDS == 1
    assert asyncio.run(ask()) == [1, 1, 2]


def test_what_was_bad_is_looked_at_again_and_good_again(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_for(-1, monkeypatch)

    async def ask() -> list[Readiness]:
        probe = Probe({"store": check})
        check.wrong = NotReady("the store cannot be reached")
        bad = await probe()
        check.wrong = None
        return [bad, await probe()]

    bad, good = asyncio.run(ask())

    assert (bad.ready, bad.checks) == (False, {"store": "the store cannot be reached"})
    assert good.ready


def test_those_who_ask_at_once_are_answered_by_one_look(check: Check) -> None:
    check.gate.clear()

    async def ask() -> list[Readiness]:
        probe = Probe({"store": check})
        asking = [asyncio.ensure_future(probe()) for _ in range(1000)]
        await asyncio.sleep(0)
        check.gate.set()
        return await asyncio.gather(*asking)

    found = asyncio.run(ask())

    assert check.runs == 1
    assert len(found) == 1000
    assert all(each is found[0] for each in found)


def test_who_leaves_before_the_answer_takes_it_from_nobody(check: Check) -> None:
    check.gate.clear()

    async def ask() -> Readiness:
        probe = Probe({"store": check})
        first, second = asyncio.ensure_future(probe()), asyncio.ensure_future(probe())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        check.gate.set()
        return await second

    assert asyncio.run(ask()).ready
    assert check.runs == 1


def test_a_check_that_hangs_holds_nobody_up_is_run_once_and_can_end(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_for(-1, monkeypatch)
    monkeypatch.setattr(readiness, "_PATIENCE_SECONDS", 0.1)
    quick = Check()
    check.gate.clear()

    async def ask() -> list[Readiness]:
        probe = Probe({"store": check, "keys": quick})
        # More often than there are threads for what must not wait.
        hanging = [await probe() for _ in range(40)]
        check.gate.set()
        await probe._running["store"]
        return [*hanging, await probe()]

    *hanging, ended = asyncio.run(ask())

    assert {found.checks["store"] for found in hanging} == {"does not answer within 0.1 seconds"}
    assert hanging[-1].checks["keys"] == "ok"
    assert ended.ready
    assert check.runs == 2


def test_a_check_that_breaks_is_not_ready_and_says_why_in_the_log_alone(
    check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    check.wrong = RuntimeError("/secret/path of host db.example")
    good = Check()

    found = asyncio.run(Probe({"store": check, "keys": good})())

    assert found.checks == {"store": "failed, see the log", "keys": "ok"}
    assert not found.ready
    [record] = caplog.records
    assert record.exc_info
    assert record.getMessage() == "the check 'store' failed"


def test_a_process_that_stops_is_not_ready_and_looks_at_nothing(check: Check) -> None:
    async def ask() -> list[Readiness]:
        probe = Probe({"store": check})
        before = await probe()
        probe.stop()
        return [before, await probe()]

    before, after = asyncio.run(ask())

    assert before.ready
    assert (after.ready, after.checks) == (False, {"process": "is stopping"})
    assert check.runs == 1


def test_a_look_belongs_to_no_request(check: Check) -> None:
    async def ask() -> None:
        OF_A_REQUEST.set("the first that asked")
        await Probe({"store": check})()

    asyncio.run(ask())

    assert check.contexts == [None]


def test_threads_that_hang_elsewhere_make_nothing_unready(check: Check) -> None:
    over = threading.Event()

    async def look() -> Readiness:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        hanging = asyncio.create_task(asyncio.to_thread(over.wait, 30))
        found = await Probe({"store": check})()
        over.set()
        await hanging
        return found

    assert asyncio.run(look()).ready
