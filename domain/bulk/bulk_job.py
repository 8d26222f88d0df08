"""A bulk job: one command for each of many users. Its events, its state and its aggregate.

The users are frozen when the job starts: its first event has their number and digest. Each item is a separate command on
another stream, whose event names the job. Stored shapes only grow; see domain/tickets/events.py.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from domain.shared.aggregate import Aggregate
from domain.shared.attribution import Attribution
from domain.shared.errors import Kind, Refusal
from domain.shared.event import Event, Origin
from domain.shared.stream_ids import named_stream_id
from domain.shared.subject import Subject

AGGREGATE = "BulkJob"
MAX_USERS = 100_000
RESET = "reset"
"""The outcome of an item whose ticket was reset; each other outcome is the code of a refusal."""

_STREAMS = UUID("0d8e1f6a-43c7-5b0e-9a52-7f1c64b2e3d9")


class BulkJobEnded(Refusal):
    """A job that is finished or cancelled cannot be changed."""

    CODE = "BulkJobEnded"
    KIND = Kind.CONFLICT


class JobStatus(StrEnum):
    """The status of a bulk job; its items are processed while it is running."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    FINISHED = "finished"


class JobKey(NamedTuple):
    """The identity of a bulk job."""

    client_ext_id: str
    job: str


def digest_of(users: Sequence[str]) -> str:
    """Return the digest of the users of a job: hex SHA-256 of their ids as a JSON array without blanks, in the order of the job."""
    return hashlib.sha256(msgspec.json.encode(users)).hexdigest()


@dataclass(frozen=True, kw_only=True)
class BulkJobEvent(Event):
    """An event of a bulk job."""

    AGGREGATE = AGGREGATE


@dataclass(frozen=True, kw_only=True)
class BulkJobStarted(BulkJobEvent):
    """A bulk job was started: the ticket of each of its users is reset.

    user_count, users_digest: of the frozen users. pace: the maximum of resets per second; None: none. overrides_limit: the
    daily limit of tickets per user does not apply.
    """

    TOPIC = "BulkJobStarted"
    originator_topic: str = AGGREGATE
    client_ext_id: str
    job: str
    user_count: int
    users_digest: str
    pace: int | None
    overrides_limit: bool

    @property
    def origin(self) -> Origin:
        """The job."""
        stream = named_stream_id(_STREAMS, self.client_ext_id, self.job)
        return Origin(stream, Subject(self.client_ext_id), self.job)


@dataclass(frozen=True, kw_only=True)
class BulkJobPaused(BulkJobEvent):
    """The job was paused."""

    TOPIC = "BulkJobPaused"


@dataclass(frozen=True, kw_only=True)
class BulkJobResumed(BulkJobEvent):
    """The job was resumed."""

    TOPIC = "BulkJobResumed"


@dataclass(frozen=True, kw_only=True)
class BulkJobCancelled(BulkJobEvent):
    """The job was cancelled; its other items are never processed."""

    TOPIC = "BulkJobCancelled"


@dataclass(frozen=True, kw_only=True)
class BulkJobFinished(BulkJobEvent):
    """Every item of the job was processed. outcomes: the number of items by outcome: `reset`, or the code of a refusal."""

    TOPIC = "BulkJobFinished"
    outcomes: dict[str, int]


class JobState(Struct, frozen=True, kw_only=True):
    """The state of a bulk job at a version; stored in table `bulk_jobs`.

    actor, correlation_id, modification_comment: of the caller that started it, also for its items. outcomes: None unless it is
    finished.
    """

    client_ext_id: str
    job: str
    version: int
    user_count: int
    users_digest: str
    pace: int | None
    overrides_limit: bool
    status: JobStatus
    actor: str
    correlation_id: str
    created: datetime
    last_modified: datetime
    modification_comment: str | None
    outcomes: Mapping[str, int] | None = None

    @property
    def key(self) -> JobKey:
        """The identity of the job."""
        return JobKey(self.client_ext_id, self.job)

    @property
    def has_ended(self) -> bool:
        """Whether no further item is processed, ever."""
        return self.status in (JobStatus.CANCELLED, JobStatus.FINISHED)


_STATUS: Mapping[type[Event], JobStatus] = {
    BulkJobPaused: JobStatus.PAUSED,
    BulkJobResumed: JobStatus.RUNNING,
    BulkJobCancelled: JobStatus.CANCELLED,
    BulkJobFinished: JobStatus.FINISHED,
}


def evolve(state: JobState | None, event: Event) -> JobState | None:
    """Apply the event to the state and return the new state."""
    if isinstance(event, BulkJobStarted):
        return JobState(
            client_ext_id=event.client_ext_id,
            job=event.job,
            version=event.originator_version,
            user_count=event.user_count,
            users_digest=event.users_digest,
            pace=event.pace,
            overrides_limit=event.overrides_limit,
            status=JobStatus.RUNNING,
            actor=event.actor,
            correlation_id=event.correlation_id,
            created=event.timestamp,
            last_modified=event.timestamp,
            modification_comment=event.reason,
        )
    if state is None:
        return None
    return replace(
        state,
        version=event.originator_version,
        last_modified=event.timestamp,
        status=_STATUS.get(type(event), state.status),
        outcomes=event.outcomes if isinstance(event, BulkJobFinished) else state.outcomes,
    )


class BulkJob(Aggregate[JobState]):
    """A bulk job of a client."""

    TOPIC = AGGREGATE
    evolve = staticmethod(evolve)

    @classmethod
    def of(cls, key: JobKey, state: JobState | None) -> "BulkJob":
        """Return the aggregate in the given state; None: not started yet."""
        return cls.at(named_stream_id(_STREAMS, *key), state)

    def start(
        self, key: JobKey, users: Sequence[str], *, pace: int | None, overrides_limit: bool, by: Attribution
    ) -> None:
        """Start the job with these users, of whom each occurs once."""
        self.emit(
            BulkJobStarted,
            client_ext_id=key.client_ext_id,
            job=key.job,
            user_count=len(users),
            users_digest=digest_of(users),
            pace=pace,
            overrides_limit=overrides_limit,
            by=by,
        )

    def pause(self, *, by: Attribution) -> None:
        """Pause the job. Raises BulkJobEnded."""
        self._change(JobStatus.PAUSED, BulkJobPaused, by)

    def resume(self, *, by: Attribution) -> None:
        """Resume the job. Raises BulkJobEnded."""
        self._change(JobStatus.RUNNING, BulkJobResumed, by)

    def cancel(self, *, by: Attribution) -> None:
        """Cancel the job. Raises BulkJobEnded if it is finished."""
        self._change(JobStatus.CANCELLED, BulkJobCancelled, by)

    def finish(self, outcomes: Mapping[str, int], *, by: Attribution) -> None:
        """Record that every item was processed, unless the job has ended. outcomes: see BulkJobFinished."""
        if not self.current.has_ended:
            self.emit(BulkJobFinished, outcomes=dict(outcomes), by=by)

    def _change(self, status: JobStatus, event: type[BulkJobEvent], by: Attribution) -> None:
        current = self.current
        if current.status is status:
            return
        if current.has_ended:
            raise BulkJobEnded(f"The job is {current.status}.")
        self.emit(event, by=by)
