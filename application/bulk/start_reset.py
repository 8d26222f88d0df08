"""Start a bulk job that resets tickets."""

from collections.abc import Sequence

from application.bulk.control_job import JobCommand
from application.bulk.job_response import to_response
from application.bulk.records import BULK_JOBS, BULK_USERS, PAGE, BulkJobs, UsersKey, job_of
from application.shared.ports import Clock
from application.transaction.command import Answer
from application.transaction.new_ids import check_new_id_in_client, client_of_new_id
from application.transaction.outcomes import Outcome
from application.transaction.records import Load
from application.transaction.unit_of_work import UnitOfWork
from domain.bulk.bulk_job import MAX_USERS, BulkJob
from domain.shared.errors import Kind, Refusal
from domain.shared.subject import Subject

MAX_UNFINISHED = 20


class BulkUsersRefused(Refusal):
    """A bulk job has no user, or too many."""

    CODE = "BulkUsersRefused"


class BulkCountDiffers(Refusal):
    """The number of users of a bulk job is not the expected one."""

    CODE = "BulkCountDiffers"
    KIND = Kind.CONFLICT


class TooManyBulkJobs(Refusal):
    """The client has the maximum number of unfinished bulk jobs."""

    CODE = "TooManyBulkJobs"
    KIND = Kind.LIMIT


class StartBulkReset(JobCommand, frozen=True, kw_only=True):
    """Start a bulk job.

    users: each once. pace: the maximum of resets per second; None: none. expected_count: the number of users that the caller
    expects; None: any. overrides_limit: the caller may exceed the daily limit.
    """

    users: tuple[str, ...]
    pace: int | None = None
    expected_count: int | None = None
    overrides_limit: bool = False

    def loads(self) -> Sequence[Load]:
        """Return the job, which must not exist, and whether the client exists, where a job could not create it."""
        return [job_of(self.job_key), *client_of_new_id(self.subject.client_ext_id)]


def start_bulk_reset(command: StartBulkReset, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Freeze the users of the job and start it.

    Raises BulkUsersRefused, BulkCountDiffers, InvalidIdentifier.
    """
    check_users(command.users, command.expected_count)
    key, users = command.job_key, command.users
    check_new_id_in_client(unit, key.client_ext_id, "job", key.job)
    bulk_job = BulkJob.of(key, None)
    bulk_job.start(
        key,
        users,
        pace=command.pace,
        overrides_limit=command.overrides_limit,
        by=command.attribution(clock()),
    )
    state = unit.save(BULK_JOBS, key, bulk_job, Subject(key.client_ext_id))
    for begin in range(0, len(users), PAGE):
        unit.put(BULK_USERS, UsersKey(*key, begin + 1), users[begin : begin + PAGE])
    return command.done(Outcome.CREATED, state.version, to_response(state, {}, None))


def check_unfinished(client_ext_id: str, *, jobs: BulkJobs) -> None:
    """Raise TooManyBulkJobs if the client may not start another job."""
    if jobs.unfinished_bulk_jobs(client_ext_id) >= MAX_UNFINISHED:
        raise TooManyBulkJobs(f"A client may have {MAX_UNFINISHED} unfinished bulk jobs. Cancel one first.")


def check_users(users: Sequence[str], expected_count: int | None) -> None:
    """Raise BulkUsersRefused for too few or too many users, and BulkCountDiffers for another number than expected."""
    count = len(users)
    if expected_count is not None and count != expected_count:
        raise BulkCountDiffers(f"The job would have {count} users, not {expected_count}.")
    if not count:
        raise BulkUsersRefused("The job would have no users.")
    if count > MAX_USERS:
        raise BulkUsersRefused(f"A job may have {MAX_USERS} users at most. Divide them among several jobs.")
