import asyncio
import re

import pytest

from application.feed.publish import Backoff, BrokerUnavailable
from tests.support.fakes import FakeRandomness


def test_waits_grow_differ_and_end_at_half_a_minute_until_it_went_well_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Random(FakeRandomness):
        def below(self, bound: int) -> int:
            return self._next()[0] * bound // 256

    async def fail(times: int) -> None:
        patience = Backoff(asyncio.Event(), Random())
        patience.stop.set()  # so that it waits for nothing
        for _ in range(times):
            await patience.wait(BrokerUnavailable("out of reach"))
        patience.reset()
        await patience.wait(BrokerUnavailable("out of reach"))

    asyncio.run(fail(50))

    *waits, after_reset = [float(found) for found in re.findall(r"try is in ([0-9.]+) s", caplog.text)]
    longest = [min(30.0, 0.5 * 2**failures) for failures in range(50)]
    assert len(waits) == 50
    assert all(most / 2 - 0.1 <= wait <= most + 0.1 for wait, most in zip(waits, longest, strict=True))
    assert len(set(waits[6:])) > 20
    assert after_reset <= 0.5
