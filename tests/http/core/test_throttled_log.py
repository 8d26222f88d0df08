"""A repeated warning is logged immediately and then at intervals; the cause of every 503 is logged."""

import logging

import pytest

from application.shared.errors import StoreUnavailable
from interface.http.core import problems
from interface.http.core.problems import problem_response
from interface.http.core.throttled_log import ThrottledLogger


def test_it_is_logged_immediately_and_then_at_intervals_with_a_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    log = ThrottledLogger(logging.getLogger("test"), lambda: now[0])

    for second in (0, 1, 2, 9.9, 10, 11, 30):
        now[0] = second
        log("full", "the disk is full")
        log(f"other {second}", "another")

    assert [text for text in caplog.messages if text != "another"] == [
        "the disk is full",
        "the disk is full (and 3 times since it was last logged)",
        "the disk is full (and 1 times since it was last logged)",
    ]
    assert caplog.messages.count("another") == 7


def test_the_number_of_kinds_is_bounded() -> None:
    log = ThrottledLogger(logging.getLogger("test"))

    for number in range(1000):
        log(str(number), "text")

    assert len(log._logged) <= 100


def test_the_cause_of_a_503_is_in_the_log_only(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "_throttled_log", ThrottledLogger(logging.getLogger("test")))
    error = StoreUnavailable("the SQLite store failed: database or disk is full")

    answer = problem_response(error)

    assert "disk" not in bytes(answer.body).decode()
    assert caplog.messages == ["responded with 503: the SQLite store failed: database or disk is full"]
