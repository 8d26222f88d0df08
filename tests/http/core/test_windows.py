"""The windows decide as the library `limits` does, which counted the requests of release 1.0."""

import random
import time

import pytest
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter

from interface.http.core.windows import CountedWindow, ExactWindow

BEGIN = 1_800_000_000.0


@pytest.mark.parametrize(
    ("window", "limiter"),
    [(CountedWindow, SlidingWindowCounterRateLimiter), (ExactWindow, MovingWindowRateLimiter)],
)
@pytest.mark.parametrize("text", ["1/second", "5/second", "7/10 seconds", "20/minute"])
def test_the_same_hits_are_refused_until_the_same_time(
    window: type[CountedWindow | ExactWindow],
    limiter: type[RateLimiter],
    text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit, now = parse(text), BEGIN
    monkeypatch.setattr(time, "time", lambda: now)
    chance, ours = random.Random(text), window(limit.amount, limit.get_expiry())
    storage = MemoryStorage()
    theirs = limiter(storage)
    refusals = 0

    for _ in range(2000):
        # Rarely, a pause of several windows.
        step = chance.choice([0, 1, 1, 2, 4] if chance.random() < 0.99 else [300, 700])
        now += (step + chance.random()) * limit.get_expiry() / (5 * limit.amount)
        key = chance.choice("ab")
        accepted = ours.hit(key, now)
        assert accepted == theirs.hit(limit, key)
        if not accepted:
            refusals += 1
            assert ours.frees_at(key, now) == pytest.approx(
                theirs.get_window_stats(limit, key).reset_time, rel=0, abs=0.001
            )
    storage.timer.join()

    assert refusals > 100


@pytest.mark.parametrize("window", [CountedWindow, ExactWindow])
def test_keys_without_hits_are_forgotten(window: type[CountedWindow | ExactWindow]) -> None:
    ours = window(5, 1)

    for number in range(10_000):
        ours.hit(number, BEGIN + number / 100)

    assert len(ours._now) + len(ours._before) <= 200


def test_a_small_step_back_of_the_clock_loses_no_count() -> None:
    ours = CountedWindow(2, 60)
    assert ours.hit("a", BEGIN)
    assert ours.hit("a", BEGIN)

    assert not ours.hit("a", BEGIN - 0.5)
