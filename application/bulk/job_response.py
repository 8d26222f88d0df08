"""The response that shows a bulk job and its progress, and its items."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, Field

from application.bulk.records import Item
from application.shared.wire import Count, UtcDate, utc_date
from domain.bulk.bulk_job import RESET, JobState, JobStatus

PENDING, REFUSED = "pending", "refused"


class BulkJobResponse(BaseModel):
    """A bulk job and its progress."""

    created: UtcDate | None
    lastModified: UtcDate | None
    version: Count
    job: str
    status: JobStatus
    count: Annotated[int, Field(description="Number of its users, frozen at the start.")]
    pending: Annotated[int, Field(description="Items that are not processed yet.")]
    reset: Annotated[int, Field(description="Items whose ticket was reset.")]
    refused: Annotated[int, Field(description="Items that were refused; they are not repeated.")]
    refusals: Annotated[dict[str, int], Field(description="Number of refused items by reason.")]
    pace: Annotated[int | None, Field(description="Maximum of resets per second; null: no maximum.")]
    rate: Annotated[float | None, Field(description="Items per second now; null: unknown or not running.")]
    secondsLeft: Annotated[
        int | None, Field(description="Estimated time until it is finished; null: unknown or not running.")
    ]
    modificationComment: str | None


class BulkItemResponse(BaseModel):
    """An item of a bulk job."""

    number: Annotated[int, Field(description="1, 2, 3 … in the order of the job.")]
    userExtId: str
    outcome: Annotated[str, Field(description="`pending`, `reset` or `refused`.")]
    reason: Annotated[str | None, Field(description="Name of the refusal, such as `CredentialDisabled`.")]
    code: Annotated[str | None, Field(description="Error code of the refusal, as of a single reset.")]
    version: Annotated[int | None, Field(description="Version of the ticket after the reset.")]
    time: UtcDate | None


def to_response(state: JobState, outcomes: Mapping[str, int], rate: float | None) -> BulkJobResponse:
    """Return the response for a job. outcomes: the number of processed items by outcome. rate: items per second."""
    refusals = {name: count for name, count in sorted(outcomes.items()) if name != RESET}
    pending = state.user_count - sum(outcomes.values())
    is_running = state.status is JobStatus.RUNNING
    speed = (rate or state.pace) if is_running else None
    return BulkJobResponse(
        created=utc_date(state.created),
        lastModified=utc_date(state.last_modified),
        version=state.version,
        job=state.job,
        status=state.status,
        count=state.user_count,
        pending=pending,
        reset=outcomes.get(RESET, 0),
        refused=sum(refusals.values()),
        refusals=refusals,
        pace=state.pace,
        rate=rate if is_running else None,
        secondsLeft=round(pending / speed) if speed else None,
        modificationComment=state.modification_comment,
    )


def to_item(item: Item, codes: Mapping[str, str]) -> BulkItemResponse:
    """Return the response for an item. codes: the error codes by the names of refusals."""
    processed = item.processed
    reason = processed.outcome if processed and processed.outcome != RESET else None
    return BulkItemResponse(
        number=item.number,
        userExtId=item.user_ext_id,
        outcome=REFUSED if reason else RESET if processed else PENDING,
        reason=reason,
        code=codes.get(reason) if reason else None,
        version=processed.version if processed and not reason else None,
        time=utc_date(processed.time) if processed else None,
    )
