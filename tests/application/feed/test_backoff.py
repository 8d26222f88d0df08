import asyncio
import re

import pytest

from application.feed.backoff import Backoff
from application.feed.broker import BrokerUnavailable
from tests.support.fakes import FakeRandomness


def test_delays_grow_with_jitter_up_to_30_seconds_until_a_reset(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Random(FakeRandomness):
        def below(self, bound: int) -> int:
            return self._next()[0] * bound // 256

    async def fail(times: int) -> None:
        backoff = Backoff(asyncio.Event(), Random())
        backoff.stop.set()  # so that it does not wait
        for _ in range(times):
            await backoff.wait(BrokerUnavailable("unreachable"))
        backoff.reset()
        await backoff.wait(BrokerUnavailable("unreachable"))

    asyncio.run(fail(50))

    *waits, after_reset = [float(found) for found in re.findall(r"retrying in ([0-9.]+) s", caplog.text)]
    longest = [min(30.0, 0.5 * 2**failures) for failures in range(50)]
    assert len(waits) == 50
    assert all(most / 2 - 0.1 <= wait <= most + 0.1 for wait, most in zip(waits, longest, strict=True))
    assert len(set(waits[6:])) > 20
    assert after_reset <= 0.5
