"""The state of a ticket credential; domain/tickets/evolution.py evolves it."""

from datetime import date, datetime
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from domain.shared.subject import Subject
from domain.tickets.daily_limit import DailyCount
from domain.tickets.states import State


class Imported(Struct, frozen=True, gc=False):
    """The import of a credential.

    row_digest: of the newest imported row (domain/tickets/events.py). version: of the credential until something else than
    an import or its expiry changes it here.
    """

    row_digest: str
    version: int


class TicketState(Struct, frozen=True, kw_only=True, gc=False):
    """The state of a credential at a version; the row of table `tickets` (stored as JSON, so the shape only grows).

    Times are aware UTC. Fields are named as in the response, in snake case. daily_delivery_count: the tickets of the UTC
    day daily_delivery_day (None: not counted, after an event of release 1.0). imported: absent unless it was imported.
    """

    client_ext_id: str
    user_ext_id: str
    stream: UUID
    version: int
    ext_id: str
    policy_ext_id: str
    state_name: State
    state_change_reason: str
    ticket_hash: str
    created: datetime
    last_modified: datetime
    valid_from: datetime
    valid_to: datetime
    modification_comment: str | None
    state_change_detail: str | None = None
    last_successful_login_date: datetime | None = None
    successful_login_count: int = 0
    last_failed_login_date: datetime | None = None
    failed_login_count: int = 0
    failure_count: int = 0
    success_count: int = 0
    reset_count: int = 0
    locked_until: datetime | None = None
    expiry_warned: bool = False
    expiry_recorded: bool = False
    deleted: bool = False
    daily_delivery_count: int = 0
    daily_delivery_day: date | None = None
    imported: Imported | UnsetType = UNSET

    @property
    def subject(self) -> Subject:
        """The owner of the credential."""
        return Subject(self.client_ext_id, self.user_ext_id)

    @property
    def key(self) -> Subject:
        """The identity of the credential: its owner."""
        return self.subject

    @property
    def expiry_step(self) -> int:
        """The expiry events still to be recorded: 0 both, 1 TicketExpired only, 2 neither."""
        if self.deleted or self.expiry_recorded or self.state_name in (State.DISABLED, State.ARCHIVED):
            return 2
        return int(self.expiry_warned)

    def deliveries_at(self, now: datetime) -> DailyCount:
        """Return the number of tickets that were minted on the UTC day of a time."""
        return DailyCount.at(now, self.daily_delivery_day, self.daily_delivery_count)

    def state_at(self, now: datetime) -> State:
        """Return the state name at a given time: a temporary lock expires."""
        unlocked = self.state_name is State.TMP_LOCKED and self.locked_until and now >= self.locked_until
        return State.ACTIVE if unlocked else self.state_name

    def at(self, now: datetime) -> "TicketState":
        """Return the state at a given time."""
        if self.state_at(now) is self.state_name:
            return self
        return replace(self, state_name=State.ACTIVE, state_change_reason="unlock", locked_until=None)
