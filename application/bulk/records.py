"""The record sets of bulk jobs: their state, their frozen users and their processed items."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from application.tickets.find_tickets import Tickets
from application.transaction.records import DerivedRecords, Load, RecordSet
from application.transaction.store import Store
from application.transaction.unit_of_work import UnitOfWork
from domain.bulk.bulk_job import BulkJob, JobKey, JobState
from domain.shared.errors import Kind, Refusal

PAGE = 500
"""The users of a job that are stored in one row."""


class BulkJobNotFound(Refusal):
    """The client has no such bulk job."""

    CODE = "BulkJobUnknown"
    KIND = Kind.NOT_FOUND


class UsersKey(NamedTuple):
    """The identity of a page of the frozen users. first: the number of its first user; the first one of the job is 1."""

    client_ext_id: str
    job: str
    first: int


class ItemKey(NamedTuple):
    """The identity of an item of a job. number: the first one is 1."""

    client_ext_id: str
    job: str
    number: int


class OutcomeKey(NamedTuple):
    """An outcome of items of a job."""

    client_ext_id: str
    job: str
    outcome: str


class ProcessedItem(NamedTuple):
    """An item that was processed, which is never repeated.

    outcome: `reset`, or the code of a refusal. version: of the credential after the reset; 0 after a refusal. time: of its
    event, or of the refusal; None: a dry run.
    """

    user_ext_id: str
    outcome: str
    version: int
    time: datetime | None


class Item(NamedTuple):
    """An item of a job. processed: None: it is pending."""

    number: int
    user_ext_id: str
    processed: ProcessedItem | None


BULK_JOBS = DerivedRecords[JobKey, JobState]("bulk_jobs", BulkJob, "bulk job")
BULK_USERS = RecordSet[UsersKey, Sequence[str]]("bulk_users")
BULK_ITEMS = RecordSet[ItemKey, ProcessedItem]("bulk_items")
BULK_OUTCOMES = RecordSet[OutcomeKey, int]("bulk_outcomes")
"""The number of processed items by outcome."""


def job_of(key: JobKey) -> Load:
    """Load a job."""
    return Load(BULK_JOBS, key)


def job(unit: UnitOfWork, key: JobKey) -> JobState:
    """Return a job. Raises BulkJobNotFound."""
    state = unit.get(BULK_JOBS, key)
    if state is None:
        raise not_found(key)
    return state


def outcomes_of(unit: UnitOfWork, key: JobKey) -> Mapping[str, int]:
    """Return the number of processed items of a job by outcome."""
    return {found.outcome: count for found, count in unit.all(BULK_OUTCOMES).items() if found[:2] == key}


def not_found(key: JobKey) -> BulkJobNotFound:
    """Return the error for a missing job."""
    return BulkJobNotFound(f"Client {key.client_ext_id!r} has no bulk job {key.job!r}.")


class BulkJobs(Protocol):
    """The bulk jobs in the store. Every method raises StoreUnavailable."""

    def bulk_job(self, key: JobKey) -> JobState | None:
        """Return a job; None: it does not exist."""

    def running_bulk_jobs(self) -> Sequence[JobState]:
        """Return the running jobs of all clients, the oldest first."""

    def unfinished_bulk_jobs(self, client_ext_id: str) -> int:
        """Return the number of running and paused jobs of a client."""

    def bulk_outcomes(self, key: JobKey) -> Mapping[str, int]:
        """Return the number of processed items by outcome."""

    def newest_bulk_times(self, key: JobKey, limit: int) -> Sequence[datetime]:
        """Return the times of the processed items with the highest numbers."""

    def bulk_users(self, key: JobKey, after: int) -> Sequence[tuple[int, str]]:
        """Return the next users with their numbers, after this number; at most PAGE."""

    def processed_items(self, key: JobKey, after: int, last: int) -> Mapping[int, ProcessedItem]:
        """Return the processed items with numbers in (after, last]."""

    def items_with(
        self, key: JobKey, after: int, limit: int, *, is_reset: bool
    ) -> Sequence[tuple[int, ProcessedItem]]:
        """Return the next items that were reset, or else refused, with their numbers."""


class BulkStore(BulkJobs, Tickets, Store, Protocol):
    """The store, with tickets and bulk jobs."""


def pending_users(key: JobKey, after: int, jobs: BulkJobs) -> tuple[int, Sequence[tuple[int, str]]]:
    """Return the last number of the page after this one, and the pending users in the page; 0: there is no further page."""
    page = jobs.bulk_users(key, after)
    if not page:
        return 0, ()
    last = page[-1][0]
    processed = jobs.processed_items(key, after, last)
    return last, [(number, user) for number, user in page if number not in processed]
