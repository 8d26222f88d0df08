"""Pause, resume, cancel and finish a bulk job."""

from collections.abc import Sequence
from enum import Enum

from application.bulk.job_response import to_response
from application.bulk.records import BULK_JOBS, BULK_OUTCOMES, job, job_of, outcomes_of
from application.shared.ports import Clock
from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from application.transaction.records import Load
from application.transaction.unit_of_work import UnitOfWork
from domain.bulk.bulk_job import BulkJob, JobKey
from domain.shared.subject import Subject


class Action(Enum):
    """The changes of a job by a caller."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


class JobCommand(Command, frozen=True, kw_only=True):
    """A command about a bulk job."""

    job: str

    @property
    def job_key(self) -> JobKey:
        """The identity of the job."""
        return JobKey(self.subject.client_ext_id, self.job)

    def loads(self) -> Sequence[Load]:
        """Return the job, and the number of its items by outcome."""
        return [job_of(self.job_key), Load(BULK_OUTCOMES, self.job_key)]


class ControlBulkJob(JobCommand, frozen=True, kw_only=True):
    """Pause, resume or cancel a job."""

    action: Action


class FinishBulkJob(JobCommand, frozen=True, kw_only=True):
    """Record the end of the job, once every item was processed."""


def control_bulk_job(command: ControlBulkJob, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Pause, resume or cancel a job. Raises BulkJobNotFound, BulkJobEnded, PreconditionFailed."""
    state = job(unit, command.job_key)
    command.precondition.check(state.version)
    bulk_job, by = BulkJob.of(state.key, state), command.attribution(clock())
    match command.action:
        case Action.PAUSE:
            bulk_job.pause(by=by)
        case Action.RESUME:
            bulk_job.resume(by=by)
        case Action.CANCEL:
            bulk_job.cancel(by=by)
    state = unit.save(BULK_JOBS, state.key, bulk_job, Subject(state.client_ext_id))
    return command.done(
        Outcome.CHANGED, state.version, to_response(state, outcomes_of(unit, state.key), None)
    )


def finish_bulk_job(command: FinishBulkJob, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Record the end of a job once, unless items are pending. Raises BulkJobNotFound."""
    state = job(unit, command.job_key)
    outcomes = outcomes_of(unit, state.key)
    if sum(outcomes.values()) < state.user_count:
        return command.done(Outcome.UNCHANGED, None, None)
    bulk_job = BulkJob.of(state.key, state)
    bulk_job.finish(outcomes, by=command.attribution(clock()))
    state = unit.save(BULK_JOBS, state.key, bulk_job, Subject(state.client_ext_id))
    return command.done(Outcome.CHANGED, state.version, None)
