"""The read projection: a pure fold of events into a row, and of a row and a moment into the response."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from application.command import Subject
from application.ticket_response import TicketResponse, ValidityResponse
from domain.ticket_credential import State, TicketCredential, Validity


@dataclass(frozen=True, kw_only=True)
class TicketRow:
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

    @property
    def subject(self) -> Subject:
        """The user to whom the credential belongs."""
        return Subject(self.client_ext_id, self.user_ext_id)


def fold(row: TicketRow | None, events: Iterable[TicketCredential.Event]) -> TicketRow | None:
    """Return the row after the events; None where nothing happened yet."""
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


def _regenerated(row: TicketRow, event: TicketCredential.TicketRegenerated) -> TicketRow:
    return replace(
        row,
        version=event.originator_version,
        last_modified=event.timestamp,
        modification_comment=event.reason,
        state_name=State.ACTIVE,
        state_change_reason="reset",
        state_change_detail=None,
        ticket_hash=event.ticket_hash,
        valid_from=event.valid_from,
        valid_to=event.valid_to,
        reset_count=event.reset_count,
        successful_login_count=0,
        failed_login_count=0,
    )


_EVOLVE: dict[type[TicketCredential.Event], Callable[[Any, Any], TicketRow]] = {
    TicketCredential.TicketCreated: _created,
    TicketCredential.TicketRegenerated: _regenerated,
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
        validity=Validity(row.valid_from, row.valid_to),
        reset_count=row.reset_count,
    )


def to_response(row: TicketRow) -> TicketResponse:
    """Return the row as the seed's schema has it."""
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
        validity=ValidityResponse(from_=utc_date(row.valid_from), to=utc_date(row.valid_to)),
        ticket=row.ticket_hash,
        failureCount=row.failure_count,
        successCount=row.success_count,
        resetCount=row.reset_count,
    )


def utc_date(moment: datetime | None) -> str | None:
    """Return an aware UTC time as the contract writes dates: `2026-11-23T09:42:00Z`, whole seconds."""
    return None if moment is None else moment.isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
