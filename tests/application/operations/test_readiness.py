"""Readiness: checks are cached, shared, and bounded in time."""

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
    """Counts its runs, blocks while its gate is closed, and raises the error that a test sets."""

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


def cached_for(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_CACHE_SECONDS", seconds)


def test_a_process_is_ready_if_every_check_succeeds(check: Check) -> None:
    found = asyncio.run(Probe({"store": check, "keys": check})())

    assert found.ready
    assert found.checks == {"store": "ok", "keys": "ok"}


def test_the_result_is_cached_for_one_second(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask() -> list[int]:
        probe = Probe({"store": check})
        runs = []
        for _ in range(2):
            await probe()
            runs.append(check.runs)
        cached_for(-1, monkeypatch)  # a second later
        await probe()
        return [*runs, check.runs]

    assert readiness._CACHE_SECONDS == 1
    assert asyncio.run(ask()) == [1, 1, 2]


def test_a_failed_check_is_repeated_and_recovers(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    cached_for(-1, monkeypatch)

    async def ask() -> list[Readiness]:
        probe = Probe({"store": check})
        check.wrong = NotReady("the store cannot be reached")
        bad = await probe()
        check.wrong = None
        return [bad, await probe()]

    bad, good = asyncio.run(ask())

    assert (bad.ready, bad.checks) == (False, {"store": "the store cannot be reached"})
    assert good.ready


def test_concurrent_requests_share_one_run(check: Check) -> None:
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


def test_a_cancelled_request_does_not_affect_the_others(check: Check) -> None:
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


def test_a_hanging_check_times_out_runs_once_and_can_end(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_for(-1, monkeypatch)
    monkeypatch.setattr(readiness, "_CHECK_TIMEOUT_SECONDS", 0.1)
    quick = Check()
    check.gate.clear()

    async def ask() -> list[Readiness]:
        probe = Probe({"store": check, "keys": quick})
        # More often than the default thread pool has threads.
        hanging = [await probe() for _ in range(40)]
        check.gate.set()
        await probe._running["store"]
        return [*hanging, await probe()]

    *hanging, ended = asyncio.run(ask())

    assert {found.checks["store"] for found in hanging} == {"no answer within 0.1 seconds"}
    assert hanging[-1].checks["keys"] == "ok"
    assert ended.ready
    assert check.runs == 2


def test_an_unexpected_error_of_a_check_is_only_logged(
    check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    check.wrong = RuntimeError("/secret/path of host db.example")
    good = Check()

    found = asyncio.run(Probe({"store": check, "keys": good})())

    assert found.checks == {"store": "failed; see the log", "keys": "ok"}
    assert not found.ready
    [record] = caplog.records
    assert record.exc_info
    assert record.getMessage() == "readiness check 'store' failed"


def test_a_stopping_process_is_not_ready_and_runs_no_check(check: Check) -> None:
    async def ask() -> list[Readiness]:
        probe = Probe({"store": check})
        before = await probe()
        probe.stop()
        return [before, await probe()]

    before, after = asyncio.run(ask())

    assert before.ready
    assert (after.ready, after.checks) == (False, {"process": "is stopping"})
    assert check.runs == 1


def test_checks_run_outside_the_context_of_a_request(check: Check) -> None:
    async def ask() -> None:
        OF_A_REQUEST.set("the first that asked")
        await Probe({"store": check})()

    asyncio.run(ask())

    assert check.contexts == [None]


def test_hanging_threads_elsewhere_do_not_affect_readiness(check: Check) -> None:
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
