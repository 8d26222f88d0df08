"""A bulk job resets each of its users once, on both stores."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from application.bulk.control_job import Action
from application.bulk.read_jobs import read_bulk_items, read_bulk_job
from application.bulk.records import PAGE, BulkJobNotFound
from application.bulk.reset_item import ResetItem, item_command
from application.bulk.start_reset import BulkCountDiffers, BulkUsersRefused
from application.transaction.command import Answer, Command, Precondition, PreconditionFailed
from application.transaction.outcomes import Outcome
from application.users.records import UserNotFound
from domain.bulk.bulk_job import MAX_USERS, BulkJobEnded, JobKey, JobState, JobStatus, digest_of
from domain.policies.policy import HashAlgorithm, TicketPolicy
from domain.shared.subject import Subject
from domain.tickets.events import TicketRegenerated
from domain.tickets.states import State
from tests.support.bulk import CLIENT, JOB, controlled, given_users, processed, started
from tests.support.evidence import open_store
from tests.support.fakes import TRACEPARENT
from tests.support.service import Service, service_over
from tests.support.stores import history_of, state_of


@pytest.fixture
def service(database_url: str) -> Iterator[Service]:
    store = open_store(database_url)
    with service_over(store, max_daily_deliveries=2) as service:
        yield service
    store.close()


def resets_of(service: Service, user: str) -> list[TicketRegenerated]:
    events = history_of(service.store, Subject(CLIENT, user))
    return [event for event in events if isinstance(event, TicketRegenerated)]


def refuse(service: Service, job: JobState, number: int) -> None:
    """Process an item of an unknown user."""
    with pytest.raises(UserNotFound):
        service.execute(item_command(job, number, f"user-{number}"))


def test_each_user_is_reset_once_by_an_event_that_names_the_job(service: Service) -> None:
    users = given_users(service, 20)

    started(service, users, actor="operator", reason="leak")
    job = processed(service)

    assert (job.status, job.user_count, job.users_digest) == (JobStatus.FINISHED, 20, digest_of(users))
    assert job.outcomes == {"reset": 20}
    for user in users:
        [reset] = resets_of(service, user)
        assert (reset.job, reset.actor, reset.reason) == (JOB.job, "operator", "leak")
        assert reset.correlation_id == TRACEPARENT
    assert len({event.command_id for user in users for event in resets_of(service, user)}) == 20


def test_a_reset_outside_of_a_job_names_none(service: Service) -> None:
    [user] = given_users(service, 1)

    service.regenerate(subject=Subject(CLIENT, user))

    [reset] = resets_of(service, user)
    encoded = service.store._mapper.to_stored_event(reset).state
    assert b'"job"' not in encoded


def test_each_rule_refuses_its_item_only(service: Service) -> None:
    users = given_users(service, 4)
    service.modify(subject=Subject(CLIENT, "user-1"), state=State.DISABLED)
    service.modify(subject=Subject(CLIENT, "user-2"), state=State.ARCHIVED)
    service.regenerate(subject=Subject(CLIENT, "user-3"))
    service.register(subject=Subject(CLIENT, "without-ticket"))

    started(service, [*users, "without-ticket", "unknown"])
    processed(service)

    found = read_bulk_items(JOB, None, 0, 100, jobs=service.store).items
    assert [(item.user_ext_id, item.processed and item.processed.outcome) for item in found] == [
        ("user-1", "CredentialDisabled"),
        ("user-2", "CredentialArchived"),
        ("user-3", "DailyLimitReached"),
        ("user-4", "reset"),
        ("without-ticket", "TicketUnknown"),
        ("unknown", "UserUnknown"),
    ]
    shown = read_bulk_job(JOB, jobs=service.store, clock=service.clock)
    assert (shown.count, shown.reset, shown.refused, shown.pending) == (6, 1, 5, 0)
    assert shown.refusals["DailyLimitReached"] == 1


def test_a_job_may_lift_the_daily_limit(service: Service) -> None:
    [user] = given_users(service, 1)
    service.regenerate(subject=Subject(CLIENT, user))

    started(service, [user], overrides_limit=True)

    assert processed(service).outcomes == {"reset": 1}


def test_a_repeated_item_changes_nothing(service: Service) -> None:
    users = given_users(service, 3)
    started(service, users)
    job = service.store.bulk_job(JOB)
    assert job
    first = item_command(job, 2, "user-2")

    assert service.execute(first).outcome == Outcome.CHANGED
    assert service.execute(first).outcome == Outcome.UNCHANGED
    assert processed(service).outcomes == {"reset": 3}

    assert all(len(resets_of(service, user)) == 1 for user in users)


def test_slow_hashes_are_computed(service: Service) -> None:
    service.define("slow", policy=TicketPolicy(hash_algorithm=HashAlgorithm.ARGON2ID))
    users = given_users(service, 3, policy_ext_id="slow")

    started(service, users)

    assert processed(service).outcomes == {"reset": 3}
    assert state_of(service.store, Subject(CLIENT, "user-3")).ticket_hash.startswith("{ARGON2ID}")


def test_a_paused_job_continues_after_it_is_resumed(service: Service) -> None:
    users = given_users(service, 3)
    started(service, users)
    controlled(service, Action.PAUSE)
    job = service.store.bulk_job(JOB)
    assert job
    assert job.status is JobStatus.PAUSED

    # A batch that another process decided before is not processed.
    assert service.execute(item_command(job, 1, "user-1")).outcome == Outcome.UNCHANGED
    assert service.store.running_bulk_jobs() == []
    controlled(service, Action.RESUME)

    assert processed(service).outcomes == {"reset": 3}


def test_a_cancelled_job_keeps_its_outcomes_and_ends(service: Service) -> None:
    users = given_users(service, 3)
    started(service, users)
    job = service.store.bulk_job(JOB)
    assert job
    service.execute(item_command(job, 1, "user-1"))

    controlled(service, Action.CANCEL)
    controlled(service, Action.CANCEL)

    shown = read_bulk_job(JOB, jobs=service.store, clock=service.clock)
    assert (shown.status, shown.reset, shown.pending, shown.version) == (JobStatus.CANCELLED, 1, 2, 2)
    for action in (Action.PAUSE, Action.RESUME):
        with pytest.raises(BulkJobEnded):
            controlled(service, action)


@pytest.mark.parametrize("action", [Action.PAUSE, Action.CANCEL])
def test_the_next_job_is_processed_after_one_was_interrupted(service: Service, action: Action) -> None:
    """The worker would end with the task of the interrupted job."""
    users = given_users(service, 5)
    started(service, users, pace=1)

    async def execute(sent: Command) -> Answer:
        answer = await asyncio.wrap_future(service.commands.submit(sent))
        if isinstance(sent, ResetItem) and sent.job == JOB.job:
            await asyncio.to_thread(controlled, service, action)
            await asyncio.to_thread(started, service, users, job="job-2", pace=2, overrides_limit=True)
        return answer

    assert processed(service, JobKey(CLIENT, "job-2"), execute=execute).outcomes == {"reset": 5}


def test_a_finished_job_cannot_be_cancelled(service: Service) -> None:
    started(service, given_users(service, 1))
    processed(service)

    with pytest.raises(BulkJobEnded):
        controlled(service, Action.CANCEL)


def test_a_change_requires_the_version_that_it_names(service: Service) -> None:
    started(service, given_users(service, 1))

    with pytest.raises(BulkJobNotFound):
        controlled(service, Action.PAUSE, job="other")

    with pytest.raises(PreconditionFailed):
        controlled(service, Action.PAUSE, precondition=Precondition(if_match=frozenset({7})))


@pytest.mark.parametrize(
    ("users", "changes", "refusal"),
    [
        ([], {}, BulkUsersRefused),
        ([str(number) for number in range(MAX_USERS + 1)], {}, BulkUsersRefused),
        (["user-1"], {"expected_count": 2}, BulkCountDiffers),
    ],
)
def test_a_job_is_refused(
    service: Service, users: list[str], changes: dict[str, int], refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        started(service, users, **changes)

    assert service.store.size(CLIENT) == 0


def test_the_items_are_paged_by_outcome(service: Service) -> None:
    users = [f"user-{number}" for number in range(1, PAGE + 3)]
    started(service, users)
    job = service.store.bulk_job(JOB)
    assert job
    for number in (2, PAGE, PAGE + 1):
        refuse(service, job, number)

    def numbers(outcome: str | None, after: int, limit: int = 1000) -> list[int]:
        found = read_bulk_items(JOB, outcome, after, limit, jobs=service.store)
        return [item.number for item in found.items] + ([0] if found.more else [])

    everything = list(range(1, PAGE + 3))
    assert numbers(None, 0) == everything
    assert numbers(None, 2, 3) == [3, 4, 5, 0]
    assert numbers("refused", 0) == [2, PAGE, PAGE + 1]
    assert numbers("refused", 2, 1) == [PAGE, 0]
    assert numbers("reset", 0) == []
    assert numbers("pending", 0) == [n for n in everything if n not in (2, PAGE, PAGE + 1)]
    assert numbers("pending", PAGE - 2, 2) == [PAGE - 1, PAGE + 2]
    with pytest.raises(BulkJobNotFound):
        read_bulk_items(JobKey(CLIENT, "other"), None, 0, 1, jobs=service.store)


def test_the_rate_is_that_of_the_newest_items(service: Service) -> None:
    users = [f"user-{number}" for number in range(1, 101)]
    started(service, users)
    job = service.store.bulk_job(JOB)
    assert job
    for number in range(1, 11):
        refuse(service, job, number)
    service.clock.advance(timedelta(seconds=5))

    shown = read_bulk_job(JOB, jobs=service.store, clock=service.clock)

    assert (shown.rate, shown.secondsLeft) == (2.0, 45)
