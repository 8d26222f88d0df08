"""Read a bulk job with its progress, and its items."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from application.bulk.job_response import PENDING, REFUSED, BulkJobResponse, to_response
from application.bulk.records import BulkJobs, Item, not_found, pending_users
from application.shared.paging import Results
from application.shared.ports import Clock
from domain.bulk.bulk_job import RESET, JobKey, JobState, JobStatus

OUTCOMES = (PENDING, RESET, REFUSED)
# The rate is that of the newest items.
_MEASURED = 200


def read_bulk_job(key: JobKey, *, jobs: BulkJobs, clock: Clock) -> BulkJobResponse:
    """Return a job and its progress. Raises BulkJobNotFound, StoreUnavailable."""
    state = _existing(key, jobs)
    return to_response(state, jobs.bulk_outcomes(key), _rate(state, jobs, clock()))


def read_bulk_items(
    key: JobKey, outcome: str | None, after: int, limit: int, *, jobs: BulkJobs
) -> Results[Item]:
    """Return the next items after a number. outcome: one of OUTCOMES; None: all.

    Raises BulkJobNotFound, StoreUnavailable.
    """
    _existing(key, jobs)
    if outcome in (RESET, REFUSED):
        found = jobs.items_with(key, after, limit + 1, is_reset=outcome == RESET)
        items: Sequence[Item] = [Item(number, done.user_ext_id, done) for number, done in found]
    else:
        items = _in_order(key, after, limit + 1, jobs, only_pending=outcome == PENDING)
    return Results(items[:limit], len(items) > limit)


def _in_order(key: JobKey, after: int, limit: int, jobs: BulkJobs, *, only_pending: bool) -> Sequence[Item]:
    items: list[Item] = []
    while len(items) < limit:
        if only_pending:
            after, pending = pending_users(key, after, jobs)
            items += [Item(number, user, None) for number, user in pending]
        else:
            page = jobs.bulk_users(key, after)
            processed = jobs.processed_items(key, after, page[-1][0]) if page else {}
            items += [Item(number, user, processed.get(number)) for number, user in page]
            after = page[-1][0] if page else 0
        if not after:
            break
    return items[:limit]


def _existing(key: JobKey, jobs: BulkJobs) -> JobState:
    state = jobs.bulk_job(key)
    if state is None:
        raise not_found(key)
    return state


def _rate(state: JobState, jobs: BulkJobs, now: datetime) -> float | None:
    """Return the items per second since the oldest of the newest items, or since the job was started or resumed."""
    if state.status is not JobStatus.RUNNING:
        return None
    times = [time for time in jobs.newest_bulk_times(state.key, _MEASURED) if time >= state.last_modified]
    if not times:
        return None
    since = min(times) if len(times) == _MEASURED else state.last_modified
    seconds = max(now - since, timedelta(milliseconds=1)).total_seconds()
    return round(len(times) / seconds, 1)
