"""Record refused operations and reads in the client's ledger.

The number of entries is bounded: of identical accesses of one caller in one minute, the first ones are recorded
individually and the rest as one entry with the count, the users and the filters. The values of filters are the reason
of an entry, which is stored apart from it and erased with its user, so an entry that concerns several users has none.
Reads of current data are only counted, so that they do not wait for a commit. The refusals of a caller are also bounded
over all clients, since their paths are not authorised. A crash loses at most the counts of the current minute.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from application.shared.ports import Clock
from application.transaction.access_log_version import ACCESS_LOG, access_log_of
from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from application.transaction.records import Load
from application.transaction.unit_of_work import UnitOfWork
from application.users.records import USER_STATES, user_state_of
from domain.record.access_log import next_access
from domain.shared.errors import Kind, Refusal
from domain.shared.subject import Subject

MAX_INDIVIDUAL_ENTRIES = 20
# Of one caller in one minute: as many are recorded individually, and of as many kinds the rest is counted.
MAX_REFUSALS_OF_A_CALLER = 100
MAX_USERS_OF_A_CALLER = 1000
MAX_COUNTED_SEARCHES = 100
READ = "read"


class UnknownClient(Refusal):
    """The client has neither events nor users, so nothing is recorded for it."""

    CODE = "UnknownClient"
    KIND = Kind.NOT_FOUND


class NoteAccess(Command, frozen=True, kw_only=True):
    """Record an access; see AccessNoted. reason: the filters of a search with their values."""

    operation: str
    outcome: str
    count: int = 1
    filters: tuple[str, ...] = ()
    users: tuple[str, ...] = ()

    def loads(self) -> Sequence[Load]:
        """Return the version of the client's access log, and the state of the user whose erasure deletes the reason."""
        client_ext_id = self.subject.client_ext_id
        version = access_log_of(client_ext_id)
        return [version, user_state_of(self.subject)] if self.reason else [version]


def note_access(command: NoteAccess, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Add an entry to the client's access log, without a reason if the user was erased. Raises UnknownClient."""
    client_ext_id, user_ext_id = command.subject
    version = unit.get(ACCESS_LOG, client_ext_id)
    if version is None:
        raise UnknownClient(f"Client {client_ext_id!r} does not exist: it has no events and no users.")
    known = unit.get(USER_STATES, command.subject)
    by = command.attribution(clock())
    if known and known.recipient is None:
        by = replace(by, reason=None)
    entry = next_access(
        client_ext_id,
        version,
        user_ext_id=user_ext_id,
        operation=command.operation,
        outcome=command.outcome,
        count=command.count,
        filters=command.filters,
        users=command.users,
        by=by,
    )
    unit.append([entry], command.subject)
    unit.put(ACCESS_LOG, client_ext_id, entry.originator_version)
    return command.done(Outcome.NOTED, None, None)


# The client, the actor, the operation and the outcome.
AccessKind = tuple[str, str, str, str]
_PER_FLUSH = 64


@dataclass
class _AccessGroup:
    """Identical accesses of one caller in one minute.

    recorded: individually. counted: not recorded yet. users, filters, searches: of the counted ones; the user "" stands for
    an access without a user, or with a user above the limit. searches: their reasons, up to the limit.
    """

    first: NoteAccess
    recorded: int = 0
    counted: int = 0
    users: set[str] = field(default_factory=set)
    filters: set[str] = field(default_factory=set)
    searches: set[str] = field(default_factory=set)

    def summary(self) -> NoteAccess:
        """Return the entry for the counted accesses."""
        client, users = self.first.subject.client_ext_id, sorted(self.users - {""})
        # An entry with its user is found by a search for that user.
        only = users[0] if self.users == set(users[:1]) else ""
        return replace(
            self.first,
            subject=Subject(client, only),
            count=self.counted,
            filters=tuple(sorted(self.filters)),
            users=() if only else tuple(users),
            reason=("\n".join(sorted(self.searches)) or None) if only or not users else None,
        )

    def add(self, other: "_AccessGroup") -> None:
        """Add the counted accesses of another group."""
        self.counted += other.counted
        self.users |= other.users
        self.filters |= other.filters
        self.searches |= other.searches


@dataclass
class _Caller:
    """The accesses of one caller in one minute, over all clients.

    refusals: recorded individually. kinds: the groups of refusals. users: the users in the groups.
    """

    refusals: int = 0
    kinds: int = 0
    users: int = 0


@dataclass
class AccessRecorder:
    """Records accesses with a bounded number of entries. `execute` runs a command.

    left_out: called for each access that is not recorded, with the reason: `unknown-client` or `flood`.
    """

    execute: Callable[[Command], Awaitable[Answer]]
    clock: Clock
    left_out: Callable[[NoteAccess, str], None] = lambda *_: None
    _minute: str = ""
    _groups: dict[AccessKind, _AccessGroup] = field(default_factory=dict)
    _callers: defaultdict[str, _Caller] = field(default_factory=lambda: defaultdict(_Caller))

    async def note(self, access: NoteAccess) -> None:
        """Record an access, or count it. Raises Unavailable."""
        minute = self.clock().strftime("%Y-%m-%dT%H:%M")
        if minute != self._minute:
            self._minute = minute
            await self.flush()
        key, caller, refused = _kind(access), self._callers[access.actor], access.outcome != READ
        if refused and key not in self._groups:
            if caller.kinds >= MAX_REFUSALS_OF_A_CALLER:
                self.left_out(access, "flood")
                return
            caller.kinds += 1
        group = self._groups.setdefault(key, _AccessGroup(access))
        spent = refused and caller.refusals >= MAX_REFUSALS_OF_A_CALLER
        if spent or group.recorded >= MAX_INDIVIDUAL_ENTRIES:
            self.count(access)
            return
        group.recorded += 1
        caller.refusals += refused
        if await self._is_left_out(access):
            self._groups.pop(key, None)
            caller.refusals -= refused
            caller.kinds -= refused

    def count(self, access: NoteAccess) -> None:
        """Count an access; the next `flush` records it."""
        group, caller = (
            self._groups.setdefault(_kind(access), _AccessGroup(access)),
            self._callers[access.actor],
        )
        group.counted += 1
        group.filters.update(access.filters)
        for user in access.users or (access.subject.user_ext_id,):
            is_left_out = user and user not in group.users and caller.users >= MAX_USERS_OF_A_CALLER
            caller.users += bool(user) and user not in group.users and not is_left_out
            group.users.add("" if is_left_out else user)
        if access.reason and len(group.searches) < MAX_COUNTED_SEARCHES:
            user = access.subject.user_ext_id
            if not user or user in group.users:
                group.searches.add(access.reason)

    def count_again(self, kind: AccessKind, user_ext_id: str) -> bool:
        """Count an access without filters like one that was counted in this minute; False: there was none, so use `count`."""
        group = self._groups.get(kind)
        if group is None or user_ext_id not in group.users:
            return False
        group.counted += 1
        return True

    async def flush(self) -> None:
        """Record the counted accesses; those that cannot be stored stay counted. Raises Unavailable."""
        waiting, self._groups = [group for group in self._groups.values() if group.counted], {}
        self._callers.clear()
        try:
            while waiting:
                batch = [self._is_left_out(group.summary()) for group in waiting[:_PER_FLUSH]]
                await asyncio.gather(*batch)
                del waiting[:_PER_FLUSH]
        finally:
            for group in waiting:
                kept = self._groups.setdefault(_kind(group.first), group)
                if kept is not group:
                    kept.add(group)

    async def _is_left_out(self, access: NoteAccess) -> bool:
        """Record an access, and return whether its client does not exist. Raises Unavailable."""
        answer = await self.execute(access)
        if answer.refusal:
            self.left_out(access, "unknown-client")
        return answer.refusal is not None


def _kind(access: NoteAccess) -> AccessKind:
    return access.subject.client_ext_id, access.actor, access.operation, access.outcome
