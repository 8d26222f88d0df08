"""A credential as another system had it."""

from datetime import datetime

from msgspec import UNSET, Struct, UnsetType

from domain.tickets.states import State


class ImportedTicket(Struct, frozen=True, kw_only=True, gc=False):
    """The fields of TicketImported that the row determines (domain/tickets/events.py)."""

    ext_id: str
    policy_ext_id: str
    state_name: State
    state_change_reason: str
    ticket_hash: str
    valid_from: datetime
    valid_to: datetime
    created: datetime
    last_successful_login_date: datetime | None
    successful_login_count: int
    last_failed_login_date: datetime | None
    failed_login_count: int
    failure_count: int
    success_count: int
    reset_count: int
    locked_until: datetime | None
    source: str
    source_version: int | None
    row_digest: str
    history_digest: str | UnsetType = UNSET
