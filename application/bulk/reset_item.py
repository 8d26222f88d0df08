"""Process one item of a bulk job: an ordinary reset, with its outcome in the same transaction.

The row of the outcome makes the item happen once: a process that repeats it finds the row, or conflicts with it.
"""

import hashlib
from collections.abc import Sequence

from application.bulk.records import BULK_ITEMS, BULK_JOBS, ItemKey, ProcessedItem, job_of
from application.shared.ports import Clock, Randomness
from application.tickets.records import TICKETS, Enqueue
from application.tickets.regenerate_ticket import RegenerateTicket, regenerate_ticket
from application.transaction.command import Answer
from application.transaction.outcomes import Outcome
from application.transaction.records import Load
from application.transaction.unit_of_work import UnitOfWork
from domain.bulk.bulk_job import RESET, JobKey, JobState, JobStatus
from domain.shared.errors import Refusal
from domain.shared.subject import Subject


class ResetItem(RegenerateTicket, frozen=True, kw_only=True):
    """Reset the ticket of the user with this number in a job."""

    job: str
    number: int

    @property
    def item(self) -> ItemKey:
        """The identity of the item."""
        return ItemKey(self.subject.client_ext_id, self.job, self.number)

    def loads(self) -> Sequence[Load]:
        """Return also the job and the item."""
        return [*super().loads(), job_of(JobKey(*self.item[:2])), Load(BULK_ITEMS, self.item)]


def item_command(state: JobState, number: int, user_ext_id: str) -> ResetItem:
    """Return the command of an item: the same in every process, on behalf of the caller that started the job."""
    key = f"{state.client_ext_id}\x1f{state.job}\x1f{number}"
    return ResetItem(
        subject=Subject(state.client_ext_id, user_ext_id),
        actor=state.actor,
        correlation_id=state.correlation_id,
        # 32 digits, as of each command without an Idempotency-Key.
        command_id=hashlib.sha256(key.encode()).hexdigest()[:32],
        request_digest="",
        reason=state.modification_comment,
        overrides_limit=state.overrides_limit,
        job=state.job,
        number=number,
    )


def reset_item(
    command: ResetItem,
    unit: UnitOfWork,
    *,
    clock: Clock,
    randomness: Randomness,
    enqueue: Enqueue,
    max_daily_deliveries: int,
) -> Answer:
    """Reset the ticket or record why not, unless the item was processed before or the job is not running. Raises SlowWork."""
    state = unit.get(BULK_JOBS, JobKey(*command.item[:2]))
    if unit.get(BULK_ITEMS, command.item) or state is None or state.status is not JobStatus.RUNNING:
        return command.done(Outcome.UNCHANGED, None, None)
    try:
        answer = regenerate_ticket(
            command,
            unit,
            clock=clock,
            randomness=randomness,
            enqueue=enqueue,
            max_daily_deliveries=max_daily_deliveries,
        )
    except Refusal as refusal:
        answer = command.refused(refusal)
    ticket = unit.get(TICKETS, command.subject) if answer.version else None
    processed = ProcessedItem(
        command.subject.user_ext_id,
        answer.refusal or RESET,
        answer.version or 0,
        ticket.last_modified if ticket else clock(),
    )
    unit.put(BULK_ITEMS, command.item, processed)
    return answer
