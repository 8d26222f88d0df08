"""Record refused operations and reads of histories in the client's ledger.

The number of entries is bounded: of identical accesses of one caller in one minute, the first ones are recorded
individually and the rest as one entry with a count. A crash loses at most the counts of the current minute.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from application.shared.ports import Clock
from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from application.transaction.records import Load, RecordSet
from application.transaction.unit_of_work import UnitOfWork
from domain.record.access_log import access_stream_id, next_access
from domain.shared.subject import Subject

MAX_INDIVIDUAL_ENTRIES = 20
READ = "read"
ACCESS_LOG = RecordSet[str, int]("access_log")
"""The version of each client's access log, read from the ledger."""


@dataclass(frozen=True, kw_only=True)
class NoteAccess(Command):
    """Record an access; see AccessNoted."""

    operation: str
    outcome: str
    count: int = 1

    def loads(self) -> Sequence[Load]:
        """Return the version of the client's access log."""
        client_ext_id = self.subject.client_ext_id
        return [Load(ACCESS_LOG, (client_ext_id, access_stream_id(client_ext_id)))]


def note_access(command: NoteAccess, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Add an entry to the client's access log."""
    client_ext_id, user_ext_id = command.subject
    entry = next_access(
        client_ext_id,
        unit.get(ACCESS_LOG, client_ext_id) or 0,
        user_ext_id=user_ext_id,
        operation=command.operation,
        outcome=command.outcome,
        count=command.count,
        by=command.attribution(clock()),
    )
    unit.append([entry], command.subject)
    unit.put(ACCESS_LOG, client_ext_id, entry.originator_version)
    return command.done(Outcome.NOTED, None, None)


@dataclass
class _AccessGroup:
    """Identical accesses of one caller in one minute."""

    first: NoteAccess
    recorded: int = 0
    counted: int = 0


@dataclass
class AccessRecorder:
    """Records accesses with a bounded number of entries. `execute` runs a command."""

    execute: Callable[[Command], Awaitable[Answer]]
    clock: Clock
    _minute: str = ""
    _groups: dict[tuple[str, str, str, str], _AccessGroup] = field(default_factory=dict)

    async def note(self, access: NoteAccess) -> None:
        """Record an access, or count it. Raises Unavailable."""
        minute = self.clock().strftime("%Y-%m-%dT%H:%M")
        if minute != self._minute:
            self._minute = minute
            await self.flush()
        key = (access.subject.client_ext_id, access.actor, access.operation, access.outcome)
        group = self._groups.setdefault(key, _AccessGroup(access))
        if group.recorded >= MAX_INDIVIDUAL_ENTRIES:
            group.counted += 1
            return
        group.recorded += 1
        await self.execute(access)

    async def flush(self) -> None:
        """Record the counted accesses. Raises Unavailable."""
        groups, self._groups = self._groups, {}
        for (client_ext_id, *_), group in groups.items():
            if group.counted:
                # The counted accesses may concern several users, so the entry names no user.
                subject = Subject(client_ext_id)
                await self.execute(replace(group.first, subject=subject, count=group.counted))
