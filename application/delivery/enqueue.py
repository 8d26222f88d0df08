"""Queue a new ticket for delivery."""

from application.delivery.outbox import OUTBOX, OutboxEntry, delivery_id
from application.shared.ports import Sealer
from application.transaction.unit_of_work import UnitOfWork
from application.users.records import USERS
from domain.policies.policy import SendingMethod, TicketPolicy
from domain.tickets.state import TicketState
from domain.tickets.ticket import ClearTicket


def enqueue_delivery(
    unit: UnitOfWork,
    state: TicketState,
    ticket: ClearTicket,
    policy: TicketPolicy,
    correlation_id: str,
    *,
    sealer: Sealer,
) -> None:
    """Put the ticket into the outbox, sealed for this credential and version, unless the sending method is None."""
    if policy.sending_method == (SendingMethod.NONE,):
        return
    subject = state.subject
    recipient = unit.get(USERS, subject)
    entry = OutboxEntry(
        subject=subject,
        stream=state.stream,
        version=state.version,
        sealed=sealer.seal(ticket, bound_to=delivery_id(state.stream, state.version)),
        minted=state.last_modified,
        methods=policy.sending_method,
        created=state.created,
        reset_count=state.reset_count,
        correlation_id=correlation_id,
        address_version=recipient.addressed_at if recipient else None,
        group_size=policy.ticket_group_size,
    )
    unit.put(OUTBOX, entry.key, entry)
