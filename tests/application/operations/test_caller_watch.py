"""Sudden activities of a caller are reported, in bounded memory."""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from msgspec.structs import asdict

from application.operations import caller_watch
from application.operations.caller_watch import Activity, CallerWatch
from application.transaction.records import Changes
from domain.record.access_log import next_access
from domain.shared.event import Event
from domain.tickets.events import TicketDeleted, TicketRegenerated, stream_id
from domain.users.user import UserChanged, UserErased, user_stream_id
from tests.support.fakes import NOW, SUBJECT, attribution

THRESHOLDS = dict.fromkeys(Activity, 3)


def reset(minute: int, actor: str) -> Event:
    return TicketRegenerated(
        originator_id=stream_id(*SUBJECT),
        originator_version=2,
        ticket_hash="h",
        reset_count=1,
        valid_from=NOW,
        valid_to=NOW,
        **asdict(attribution(timestamp=NOW + timedelta(minutes=minute), actor=actor)),
    )


def changed(minute: int, actor: str, *fields: str) -> Event:
    return UserChanged(
        originator_id=user_stream_id(*SUBJECT),
        originator_version=2,
        client_ext_id=SUBJECT.client_ext_id,
        user_ext_id=SUBJECT.user_ext_id,
        changed=fields or ("email", "name"),
        recipient="",
        **asdict(attribution(timestamp=NOW + timedelta(minutes=minute), actor=actor)),
    )


def deleted(minute: int, actor: str) -> Event:
    return TicketDeleted(
        originator_id=stream_id(*SUBJECT),
        originator_version=2,
        **asdict(attribution(timestamp=NOW + timedelta(minutes=minute), actor=actor)),
    )


def erased(minute: int, actor: str) -> Event:
    return UserErased(
        originator_id=user_stream_id(*SUBJECT),
        originator_version=2,
        client_ext_id=SUBJECT.client_ext_id,
        user_ext_id=SUBJECT.user_ext_id,
        changed=(),
        **asdict(attribution(timestamp=NOW + timedelta(minutes=minute), actor=actor)),
    )


def refused(minute: int, actor: str, outcome: str = "errors.noRecord", count: int = 1) -> Event:
    return next_access(
        "client-123",
        0,
        user_ext_id="",
        operation="o",
        outcome=outcome,
        count=count,
        filters=(),
        users=(),
        by=attribution(timestamp=NOW + timedelta(minutes=minute), actor=actor),
    )


def commit(*events: Event) -> Changes:
    return Changes(events=list(events), subjects=[SUBJECT] * len(events))


@pytest.fixture
def reports() -> list[Activity]:
    return []


@pytest.fixture
def watch(reports: list[Activity]) -> CallerWatch:
    return CallerWatch(THRESHOLDS, reports.append)


@pytest.mark.parametrize(
    ("made", "activity"),
    [
        (reset, "resets"),
        (changed, "address-changes"),
        (refused, "refusals"),
        (deleted, "deletions"),
        (erased, "deletions"),
    ],
)
@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        ([0, 1], 0),
        ([0, 1, 2], 1),
        ([*range(60)], 1),
        ([0, 30, 61], 0),  # a new hour
        ([*range(120)], 2),
        ([0, 1, -10], 0),  # a clock that was set back
    ],
)
def test_a_sudden_activity_is_reported_once_per_hour(
    watch: CallerWatch,
    reports: list[Activity],
    caplog: pytest.LogCaptureFixture,
    made: Callable[[int, str], Event],
    activity: str,
    minutes: Sequence[int],
    expected: int,
) -> None:
    with caplog.at_level(logging.WARNING):
        for minute in minutes:
            watch(commit(made(minute, "helpdesk")))

    assert reports == [activity] * expected
    text = f"sudden {activity}: 3 within an hour by caller 'helpdesk' in client 'client-123'"
    assert caplog.messages == [text] * expected


def test_callers_and_activities_are_counted_separately(watch: CallerWatch, reports: list[Activity]) -> None:
    for actor in ("alice", "bob"):
        watch(commit(reset(0, actor), reset(1, actor), changed(1, actor), refused(2, actor, count=2)))
    watch(commit(*[changed(3, "alice", "name")] * 9, *[refused(3, "alice", "read")] * 9))
    assert reports == []

    watch(commit(refused(4, "bob", count=20)))
    assert reports == [Activity.REFUSALS]


def test_a_threshold_of_0_reports_nothing(reports: list[Activity]) -> None:
    watch = CallerWatch(dict.fromkeys(Activity, 0), reports.append)

    watch(commit(*[reset(0, "alice")] * 99))

    assert reports == []


def test_the_memory_is_bounded(
    watch: CallerWatch, reports: list[Activity], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller_watch, "MAX_CALLERS", 10)
    for number in range(1_000):
        watch(commit(reset(0, f"caller-{number}"), reset(0, "busy")))

    assert len(watch._counts) == 10
    assert reports == [Activity.RESETS]
