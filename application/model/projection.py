"""The read projection: a pure fold of events into a row, and of a row and a moment into the response."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from application.model.ticket_response import TicketResponse
from application.shared.errors import LaterRelease
from application.transaction.command import Subject
from domain.shared.event import Event, UnknownEvent
from domain.tickets.states import State
from domain.tickets.ticket_credential import TicketCredential, Validity, state_at


class TicketRow(Struct, frozen=True, kw_only=True, gc=False):
    """The read model's row of one credential: its whole state after the event of that version.

    Times are aware UTC. The names are the response's, in snake case.
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

    @property
    def expiry_step(self) -> int:
        """What was said of the ticket's end: 0 nothing, 1 that it comes soon, 2 that it came, or nothing will be."""
        if self.deleted or self.expiry_recorded or self.state_name in (State.DISABLED, State.ARCHIVED):
            return 2
        return int(self.expiry_warned)

    @property
    def subject(self) -> Subject:
        """The user to whom the credential belongs."""
        return Subject(self.client_ext_id, self.user_ext_id)


def fold(row: TicketRow | None, events: Iterable[Event]) -> TicketRow | None:
    """Return the row after the events; None where nothing happened yet.

    Of an event of a later release only its version and time are known. Raises LaterRelease where the first one is such.
    """
    for event in events:
        row = _EVOLVE[type(event)](row, event)
    return row


def _created(_: TicketRow | None, event: TicketCredential.TicketCreated) -> TicketRow:
    return TicketRow(
        client_ext_id=event.client_ext_id,
        user_ext_id=event.user_ext_id,
        stream=event.originator_id,
        version=event.originator_version,
        ext_id=event.ext_id,
        policy_ext_id=event.policy_ext_id,
        state_name=event.state_name,
        state_change_reason="initialized",
        ticket_hash=event.ticket_hash,
        created=event.timestamp,
        last_modified=event.timestamp,
        valid_from=event.valid_from,
        valid_to=event.valid_to,
        modification_comment=event.reason,
    )


def _changed(row: TicketRow, event: Event, **changes: Any) -> TicketRow:
    """Return the row after an event that changed these, and was not about its comment."""
    return replace(row, version=event.originator_version, last_modified=event.timestamp, **changes)


def _modified(row: TicketRow, event: Event, **changes: Any) -> TicketRow:
    """Return the row after a change that somebody may have commented; without a comment the last one stays."""
    return _changed(row, event, modification_comment=event.reason or row.modification_comment, **changes)


def _regenerated(row: TicketRow, event: TicketCredential.TicketRegenerated) -> TicketRow:
    return _changed(
        row,
        event,
        modification_comment=event.reason,
        state_name=State.ACTIVE,
        state_change_reason="reset",
        ticket_hash=event.ticket_hash,
        valid_from=event.valid_from,
        valid_to=event.valid_to,
        reset_count=event.reset_count,
        successful_login_count=0,
        failed_login_count=0,
        locked_until=None,
        expiry_warned=False,
        expiry_recorded=False,
    )


def _state_changed(row: TicketRow, event: TicketCredential.TicketStateChanged) -> TicketRow:
    return _modified(
        row,
        event,
        state_name=event.state_name,
        state_change_reason="changed-by-admin",
        failed_login_count=0,
        locked_until=None,
    )


def _policy_assigned(row: TicketRow, event: TicketCredential.TicketPolicyAssigned) -> TicketRow:
    return _modified(row, event, policy_ext_id=event.policy_ext_id)


def _validity_changed(row: TicketRow, event: TicketCredential.TicketValidityChanged) -> TicketRow:
    return _modified(
        row,
        event,
        valid_from=event.valid_from,
        valid_to=event.valid_to,
        expiry_warned=False,
        expiry_recorded=False,
    )


def _commented(row: TicketRow, event: TicketCredential.TicketCommented) -> TicketRow:
    return _changed(row, event, modification_comment=event.reason)


def _verified(row: TicketRow, event: TicketCredential.TicketVerified) -> TicketRow:
    return _changed(
        row,
        event,
        state_name=State.ACTIVE,
        state_change_reason="unlock" if row.state_name is State.TMP_LOCKED else row.state_change_reason,
        locked_until=None,
        last_successful_login_date=event.timestamp,
        successful_login_count=row.successful_login_count + 1,
        success_count=row.success_count + 1,
        failed_login_count=0,
    )


def _missed(row: TicketRow, event: TicketCredential.WrongTicketPresented) -> TicketRow:
    locked = event.state_name is not State.ACTIVE
    return _changed(
        row,
        event,
        state_name=event.state_name,
        state_change_reason="too-many-login-failures" if locked else row.state_change_reason,
        locked_until=event.locked_until,
        last_failed_login_date=event.timestamp,
        failed_login_count=row.failed_login_count + 1,
        failure_count=row.failure_count + 1,
    )


def _hash_upgraded(row: TicketRow, event: TicketCredential.TicketHashUpgraded) -> TicketRow:
    return _changed(row, event, ticket_hash=event.ticket_hash)


def _expires_soon(row: TicketRow, event: TicketCredential.TicketExpirySoon) -> TicketRow:
    return _changed(row, event, expiry_warned=True)


def _expired(row: TicketRow, event: TicketCredential.TicketExpired) -> TicketRow:
    return _changed(row, event, expiry_warned=True, expiry_recorded=True)


def _unknown(row: TicketRow | None, event: UnknownEvent) -> TicketRow:
    if row is None:
        raise LaterRelease("the first event of the credential is of a later release")
    return _changed(row, event)


def _deleted(row: TicketRow, event: TicketCredential.TicketDeleted) -> TicketRow:
    return _changed(row, event, deleted=True)


_EVOLVE: dict[type[Event], Callable[[Any, Any], TicketRow]] = {
    TicketCredential.TicketCreated: _created,
    TicketCredential.TicketRegenerated: _regenerated,
    TicketCredential.TicketStateChanged: _state_changed,
    TicketCredential.TicketPolicyAssigned: _policy_assigned,
    TicketCredential.TicketValidityChanged: _validity_changed,
    TicketCredential.TicketCommented: _commented,
    TicketCredential.TicketVerified: _verified,
    TicketCredential.WrongTicketPresented: _missed,
    TicketCredential.TicketHashUpgraded: _hash_upgraded,
    TicketCredential.TicketExpirySoon: _expires_soon,
    TicketCredential.TicketExpired: _expired,
    TicketCredential.TicketDeleted: _deleted,
    UnknownEvent: _unknown,
}


def restore(row: TicketRow) -> TicketCredential:
    """Return the aggregate as it stands after the events that made the row."""
    return TicketCredential.restore(
        row.stream,
        row.version,
        row.last_modified,
        client_ext_id=row.client_ext_id,
        user_ext_id=row.user_ext_id,
        ext_id=row.ext_id,
        policy_ext_id=row.policy_ext_id,
        state=row.state_name,
        ticket_hash=row.ticket_hash,
        locked_until=row.locked_until,
        validity=Validity(row.valid_from, row.valid_to),
        comment=row.modification_comment,
        successes=row.successful_login_count,
        misses=row.failed_login_count,
        reset_count=row.reset_count,
        expiry_warned=row.expiry_warned,
        expiry_recorded=row.expiry_recorded,
        deleted=row.deleted,
    )


def to_response(row: TicketRow, now: datetime) -> TicketResponse:
    """Return the row as the seed's schema has it at a moment: a temporary lock ends by itself."""
    row = at(row, now)
    return TicketResponse(
        created=utc_date(row.created),
        lastModified=utc_date(row.last_modified),
        version=row.version,
        extId=row.ext_id,
        userExtId=row.user_ext_id,
        policyExtId=row.policy_ext_id,
        stateName=row.state_name,
        stateChangeReason=row.state_change_reason,
        stateChangeDetail=row.state_change_detail,
        lastSuccessfulLoginDate=utc_date(row.last_successful_login_date),
        successfulLoginCount=row.successful_login_count,
        lastFailedLoginDate=utc_date(row.last_failed_login_date),
        failedLoginCount=row.failed_login_count,
        modificationComment=row.modification_comment,
        type="Ticket Authorization",
        validity={"from": utc_date(row.valid_from), "to": utc_date(row.valid_to)},
        ticket=row.ticket_hash,
        failureCount=row.failure_count,
        successCount=row.success_count,
        resetCount=row.reset_count,
    )


def at(row: TicketRow, now: datetime) -> TicketRow:
    """Return the row as it is at a moment."""
    if state_at(row.state_name, row.locked_until, now) is row.state_name:
        return row
    return replace(row, state_name=State.ACTIVE, state_change_reason="unlock", locked_until=None)


def utc_date(moment: datetime | None) -> str | None:
    """Return an aware UTC time as the contract writes dates: `2026-11-23T09:42:00Z`, whole seconds."""
    return None if moment is None else moment.isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
