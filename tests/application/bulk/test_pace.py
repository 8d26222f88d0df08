"""The pace of a bulk job: no second has more items."""

import pytest

from application.bulk.worker import BATCH, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("per_second", [1, 7, 10, 25, 200, 999])
def test_no_second_has_more_items_than_the_pace(per_second: int) -> None:
    clock, begins = Clock(), list[float]()
    pace = Pace(per_second, clock)
    for number in range(300):
        clock.now += pace.delay()
        pace.begin()
        begins.append(clock.now)
        clock.now += 0.3 if number == 100 else 0.001  # a slow batch is not caught up

    most = max(sum(begin <= other < begin + 1 - 1e-9 for other in begins) for begin in begins) * pace.batch
    assert most <= per_second
    # A process that takes over waits first, as the former one may have begun a batch.
    assert begins[0] == pytest.approx(100 + pace.batch / per_second, rel=0.05)
    assert 99 * pace.batch / (begins[-1] - begins[-100]) == pytest.approx(per_second, rel=0.05)


def test_without_a_pace_nothing_is_delayed() -> None:
    pace = Pace(None, Clock())

    assert (pace.delay(), pace.batch) == (0, BATCH)
