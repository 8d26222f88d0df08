"""Retry delays double up to a limit, with a jitter of 25 percent."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from application.shared.retries import Retries

FIRST, LONGEST = timedelta(seconds=30), timedelta(hours=1)


def retries(jitter: float = 0.5) -> Retries:
    return Retries(first=FIRST, longest=LONGEST, give_up_after=timedelta(hours=24), jitter=lambda: jitter)


def test_each_delay_doubles_up_to_the_limit() -> None:
    delays = [retries().delay(failures).total_seconds() for failures in range(1, 10)]

    assert delays == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]


@given(failures=st.integers(1, 10**6), jitter=st.floats(0, 1, exclude_max=True))
def test_jitter_changes_a_delay_by_up_to_25_percent(failures: int, jitter: float) -> None:
    without = retries().delay(failures)

    assert 0.75 * without <= retries(jitter).delay(failures) < 1.25 * without + timedelta(microseconds=1)
    assert without <= LONGEST


def test_concurrent_failures_get_different_delays() -> None:
    assert retries(0.2).delay(3) != retries(0.7).delay(3)
