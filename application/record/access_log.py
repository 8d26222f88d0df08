"""Who was refused what, and who read whose history: kept in the client's ledger like every event.

Bounded: of what one caller does alike in one minute the first few are kept one by one, the rest is counted and kept
as one entry when the minute is over. A crash loses at most the count of the minute it happens in.
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

ONE_BY_ONE = 20
READ = "read"
ACCESS_LOG = RecordSet[str, int]("access_log")
"""The version of each client's access log; it stands in the ledger only."""


@dataclass(frozen=True, kw_only=True)
class NoteAccess(Command):
    """Keep that the actor was refused an operation, or read what is watched; see AccessNoted."""

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
class _Alike:
    """What one caller did alike in one minute."""

    first: NoteAccess
    kept: int = 0
    counted: int = 0


@dataclass
class AccessRecorder:
    """Bounds what is noted. `execute` runs a command; the minutes are those of `clock`."""

    execute: Callable[[Command], Awaitable[Answer]]
    clock: Clock
    _minute: str = ""
    _alike: dict[tuple[str, str, str, str], _Alike] = field(default_factory=dict)

    async def note(self, access: NoteAccess) -> None:
        """Keep an access, or count it; when this returns, it is stored or counted. Raises Unavailable."""
        minute = self.clock().strftime("%Y-%m-%dT%H:%M")
        if minute != self._minute:
            self._minute = minute
            await self.flush()
        key = (access.subject.client_ext_id, access.actor, access.operation, access.outcome)
        alike = self._alike.setdefault(key, _Alike(access))
        if alike.kept >= ONE_BY_ONE:
            alike.counted += 1
            return
        alike.kept += 1
        await self.execute(access)

    async def flush(self) -> None:
        """Keep what was only counted so far. Raises Unavailable."""
        over, self._alike = self._alike, {}
        for (client_ext_id, *_), alike in over.items():
            if alike.counted:
                # What was counted may be about many users, so the entry names none.
                subject = Subject(client_ext_id)
                await self.execute(replace(alike.first, subject=subject, count=alike.counted))
