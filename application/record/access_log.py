"""Record refused operations and reads of histories in the client's ledger.

The number of entries is bounded: of identical accesses of one caller in one minute, the first ones are recorded
individually and the rest as one entry with a count. The refusals of a caller are also bounded over all clients, since
their paths are not authorised. A crash loses at most the counts of the current minute.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from application.shared.ports import Clock
from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from application.transaction.records import Load, RecordSet
from application.transaction.unit_of_work import UnitOfWork
from domain.record.access_log import access_stream_id, next_access
from domain.shared.errors import Kind, Refusal
from domain.shared.subject import Subject

MAX_INDIVIDUAL_ENTRIES = 20
# Of one caller in one minute: as many are recorded individually, and of as many kinds the rest is counted.
MAX_REFUSALS_OF_A_CALLER = 100
READ = "read"
ACCESS_LOG = RecordSet[str, int]("access_log")
"""The version of the access log of each client that exists, read from the ledger.

A client exists if it has a ledger or a user: policies and subscriptions are never stored without an event.
"""


class UnknownClient(Refusal):
    """The client has neither events nor users, so nothing is recorded for it."""

    CODE = "UnknownClient"
    KIND = Kind.NOT_FOUND


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
    """Add an entry to the client's access log. Raises UnknownClient."""
    client_ext_id, user_ext_id = command.subject
    version = unit.get(ACCESS_LOG, client_ext_id)
    if version is None:
        raise UnknownClient(f"Client {client_ext_id!r} does not exist: it has no events and no users.")
    entry = next_access(
        client_ext_id,
        version,
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
class _Refusals:
    """The refusals of one caller in one minute, over all clients. kinds: the number of their groups."""

    recorded: int = 0
    kinds: int = 0


@dataclass
class AccessRecorder:
    """Records accesses with a bounded number of entries. `execute` runs a command.

    left_out: called for each access that is not recorded, with the reason: `unknown-client` or `flood`.
    """

    execute: Callable[[Command], Awaitable[Answer]]
    clock: Clock
    left_out: Callable[[NoteAccess, str], None] = lambda *_: None
    _minute: str = ""
    _groups: dict[tuple[str, str, str, str], _AccessGroup] = field(default_factory=dict)
    _refusals: defaultdict[str, _Refusals] = field(default_factory=lambda: defaultdict(_Refusals))

    async def note(self, access: NoteAccess) -> None:
        """Record an access, or count it. Raises Unavailable."""
        minute = self.clock().strftime("%Y-%m-%dT%H:%M")
        if minute != self._minute:
            self._minute = minute
            await self.flush()
        key = (access.subject.client_ext_id, access.actor, access.operation, access.outcome)
        refusals = None if access.outcome == READ else self._refusals[access.actor]
        if refusals and key not in self._groups:
            if refusals.kinds >= MAX_REFUSALS_OF_A_CALLER:
                self.left_out(access, "flood")
                return
            refusals.kinds += 1
        group = self._groups.setdefault(key, _AccessGroup(access))
        spent = refusals and refusals.recorded >= MAX_REFUSALS_OF_A_CALLER
        if spent or group.recorded >= MAX_INDIVIDUAL_ENTRIES:
            group.counted += 1
            return
        group.recorded += 1
        if refusals:
            refusals.recorded += 1
        if await self._is_left_out(access):
            self._groups.pop(key, None)
            if refusals:
                refusals.recorded -= 1
                refusals.kinds -= 1

    async def flush(self) -> None:
        """Record the counted accesses. Raises Unavailable."""
        groups, self._groups = self._groups, {}
        self._refusals.clear()
        for (client_ext_id, *_), group in groups.items():
            if group.counted:
                # The counted accesses may concern several users, so the entry names no user.
                subject = Subject(client_ext_id)
                await self._is_left_out(replace(group.first, subject=subject, count=group.counted))

    async def _is_left_out(self, access: NoteAccess) -> bool:
        """Record an access, and return whether its client does not exist. Raises Unavailable."""
        answer = await self.execute(access)
        if answer.refusal:
            self.left_out(access, "unknown-client")
        return answer.refusal is not None
