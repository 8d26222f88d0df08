"""A clock that is set back is logged and counted, once per jump."""

import logging
from datetime import timedelta

import pytest

from application.operations.clock_watch import ClockWatch
from application.transaction.records import Changes
from domain.record.access_log import next_access
from domain.shared.attribution import Attribution
from tests.support.fakes import NOW, TRACEPARENT


def commit_at(seconds: float) -> Changes:
    by = Attribution(
        timestamp=NOW + timedelta(seconds=seconds),
        actor="helpdesk",
        reason=None,
        correlation_id=TRACEPARENT,
        command_id="",
        request_digest="",
    )
    event = next_access(
        "client-123", 0, user_ext_id="", operation="o", outcome="read", count=1, filters=(), users=(), by=by
    )
    return Changes(events=[event])


@pytest.mark.parametrize(
    ("commits", "jumps"),
    [
        ([0, 1, 2], []),
        ([10, 6, 10, 5], []),  # within the tolerance
        ([10, 7, 4], [6]),  # small steps add up
        ([3600, 0, 1, 2, 3601, 1], [3600, 3600]),
    ],
)
def test_each_jump_is_reported_once(
    commits: list[float], jumps: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []
    watch = ClockWatch()
    watch.observe = seen.append

    with caplog.at_level(logging.WARNING):
        for seconds in commits:
            watch(commit_at(seconds))

    assert caplog.messages == [
        f"the clock is {jump} seconds behind the newest event: it was set back" for jump in jumps
    ]
    assert seen == jumps


def test_a_clock_that_was_set_back_while_the_service_was_stopped_is_reported() -> None:
    seen: list[int] = []
    watch = ClockWatch(newest=NOW)
    watch.observe = seen.append

    watch(Changes())
    watch(commit_at(-60))

    assert seen == [60]
