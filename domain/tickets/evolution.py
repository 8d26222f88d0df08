"""The function that evolves the state of a ticket credential."""

from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from domain.shared.event import Event, UnknownEvent
from domain.tickets import events
from domain.tickets.daily_limit import DailyCount
from domain.tickets.state import Imported, TicketState
from domain.tickets.states import State


def evolve(state: TicketState | None, event: Event) -> TicketState:
    """Apply the event to the state and return the new state.

    An event of a later release only changes the version and the time (ADR 12).
    """
    return _EVOLVE[type(event)](state, event)


def fold(state: TicketState | None, stream: Iterable[Event]) -> TicketState | None:
    """Apply the events in order and return the new state."""
    for event in stream:
        state = evolve(state, event)
    return state


def _created(former: TicketState | None, event: events.TicketCreated) -> TicketState:
    count, day = _daily_deliveries(former, event)
    return TicketState(
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
        daily_delivery_count=count,
        daily_delivery_day=day,
    )


def _imported(former: TicketState | None, event: events.TicketImported) -> TicketState:
    count, day = _daily_deliveries(former, event)
    return TicketState(
        client_ext_id=event.client_ext_id,
        user_ext_id=event.user_ext_id,
        stream=event.originator_id,
        version=event.originator_version,
        ext_id=event.ext_id,
        policy_ext_id=event.policy_ext_id,
        state_name=event.state_name,
        state_change_reason=event.state_change_reason,
        ticket_hash=event.ticket_hash,
        created=event.created,
        last_modified=event.timestamp,
        valid_from=event.valid_from,
        valid_to=event.valid_to,
        modification_comment=event.reason,
        last_successful_login_date=event.last_successful_login_date,
        successful_login_count=event.successful_login_count,
        last_failed_login_date=event.last_failed_login_date,
        failed_login_count=event.failed_login_count,
        failure_count=event.failure_count,
        success_count=event.success_count,
        reset_count=event.reset_count,
        locked_until=event.locked_until,
        expiry_warned=event.expiry_warned,
        expiry_recorded=event.valid_to <= event.timestamp,
        daily_delivery_count=count,
        daily_delivery_day=day,
        imported=Imported(event.row_digest, event.originator_version),
    )


def _daily_deliveries(former: TicketState | None, event: events.TicketEvent) -> tuple[int, date | None]:
    """Return the tickets of the day up to the event, and the day."""
    # Every event has the count, so that an event of release 1.0 leads to the default, as its row does (ADR 14).
    if event.daily_delivery_count is UNSET:
        return 0, None
    day, _ = DailyCount.at(event.timestamp, former.daily_delivery_day if former else None, 0)
    return event.daily_delivery_count, day


def _after(state: TicketState, event: events.TicketEvent, **changes: Any) -> TicketState:
    count, day = _daily_deliveries(state, event)
    if event.daily_delivery_count is UNSET:
        # Release 1.0 drops the field from the row (ADR 14).
        changes["imported"] = UNSET
    return replace(
        state,
        version=event.originator_version,
        last_modified=event.timestamp,
        daily_delivery_count=count,
        daily_delivery_day=day,
        **changes,
    )


def _after_comment(state: TicketState, event: events.TicketEvent, **changes: Any) -> TicketState:
    """Apply an event with an optional comment; without a comment the former one is kept, unless a later one was erased."""
    former = None if event.reason_erased else state.modification_comment
    return _after(state, event, modification_comment=event.reason or former, **changes)


def _regenerated(state: TicketState, event: events.TicketRegenerated) -> TicketState:
    return _after(
        state,
        event,
        modification_comment=event.reason,
        state_name=State.ACTIVE,
        state_change_reason="reset",
        ticket_hash=event.ticket_hash,
        valid_from=event.valid_from,
        valid_to=event.valid_to,
        reset_count=event.reset_count,
        locked_until=None,
        successful_login_count=0,
        failed_login_count=0,
        expiry_warned=False,
        expiry_recorded=False,
    )


def _state_changed(state: TicketState, event: events.TicketStateChanged) -> TicketState:
    return _after_comment(
        state,
        event,
        state_name=event.state_name,
        state_change_reason="changed-by-admin",
        failed_login_count=0 if event.failed_login_count is UNSET else event.failed_login_count,
        locked_until=None,
    )


def _policy_assigned(state: TicketState, event: events.TicketPolicyAssigned) -> TicketState:
    return _after_comment(state, event, policy_ext_id=event.policy_ext_id)


def _validity_changed(state: TicketState, event: events.TicketValidityChanged) -> TicketState:
    return _after_comment(
        state,
        event,
        valid_from=event.valid_from,
        valid_to=event.valid_to,
        expiry_warned=False,
        expiry_recorded=False,
    )


def _commented(state: TicketState, event: events.TicketCommented) -> TicketState:
    return _after(state, event, modification_comment=event.reason)


def _verified(state: TicketState, event: events.TicketVerified) -> TicketState:
    return _after(
        state,
        event,
        state_name=State.ACTIVE,
        state_change_reason="unlock" if state.state_name is State.TMP_LOCKED else state.state_change_reason,
        locked_until=None,
        last_successful_login_date=event.timestamp,
        successful_login_count=state.successful_login_count + 1,
        success_count=state.success_count + 1,
        failed_login_count=0,
    )


def _wrong_ticket_presented(state: TicketState, event: events.WrongTicketPresented) -> TicketState:
    locked = event.state_name is not State.ACTIVE
    return _after(
        state,
        event,
        state_name=event.state_name,
        state_change_reason="too-many-login-failures" if locked else state.state_change_reason,
        locked_until=event.locked_until,
        last_failed_login_date=event.timestamp,
        failed_login_count=state.failed_login_count + 1,
        failure_count=state.failure_count + 1,
    )


def _hash_upgraded(state: TicketState, event: events.TicketHashUpgraded) -> TicketState:
    return _after(state, event, ticket_hash=event.ticket_hash)


def _expires_soon(state: TicketState, event: events.TicketExpirySoon) -> TicketState:
    return _after(state, event, expiry_warned=True, imported=_still_imported(state, event))


def _expired(state: TicketState, event: events.TicketExpired) -> TicketState:
    imported = _still_imported(state, event)
    return _after(state, event, expiry_warned=True, expiry_recorded=True, imported=imported)


def _still_imported(state: TicketState, event: events.TicketEvent) -> Imported | UnsetType:
    """Return the import after an event that only time has caused, so that a later row can be imported again."""
    if not state.imported or state.imported.version != state.version:
        return state.imported
    return replace(state.imported, version=event.originator_version)


def _deleted(state: TicketState, event: events.TicketDeleted) -> TicketState:
    return _after(state, event, deleted=True, modification_comment=None)


def _unknown(state: TicketState, event: UnknownEvent) -> TicketState:
    return replace(state, version=event.originator_version, last_modified=event.timestamp)


_EVOLVE: dict[type[Event], Callable[[Any, Any], TicketState]] = {
    events.TicketCreated: _created,
    events.TicketImported: _imported,
    events.TicketRegenerated: _regenerated,
    events.TicketStateChanged: _state_changed,
    events.TicketPolicyAssigned: _policy_assigned,
    events.TicketValidityChanged: _validity_changed,
    events.TicketCommented: _commented,
    events.TicketVerified: _verified,
    events.WrongTicketPresented: _wrong_ticket_presented,
    events.TicketHashUpgraded: _hash_upgraded,
    events.TicketExpirySoon: _expires_soon,
    events.TicketExpired: _expired,
    events.TicketDeleted: _deleted,
    UnknownEvent: _unknown,
}
