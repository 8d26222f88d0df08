import pytest

from application.transaction.commit_pace import CommitPace

FAST, SLOW = 0.0005, 0.005


def after(*seconds: float) -> CommitPace:
    pace = CommitPace()
    for duration in seconds:
        pace.observe(duration)
    return pace


@pytest.mark.parametrize(
    ("seconds", "is_fast"),
    [
        ([FAST] * 15, False),
        ([FAST] * 16, True),
        ([0.003] * 100, False),
        ([0.0015] * 100, True),
        ([*[FAST] * 100, SLOW], False),
        ([*[FAST] * 100, SLOW, *[FAST] * 999], False),
        ([*[FAST] * 100, SLOW, *[FAST] * 1000], True),
        ([*[FAST] * 100, SLOW, *[FAST] * 998, SLOW, FAST], True),
    ],
)
def test_small_commits_run_on_the_loop_after_fast_ones(seconds: list[float], is_fast: bool) -> None:
    assert after(*seconds).is_fast is is_fast


def test_at_most_one_of_a_thousand_commits_holds_the_loop_long() -> None:
    """On any disk: this one is slow each time that the loop waits for it."""
    pace, held, count = CommitPace(), 0, 20_000
    for _ in range(count):
        held += pace.is_fast
        pace.observe(SLOW if pace.is_fast else FAST)

    assert 0 < held <= count / 1000
