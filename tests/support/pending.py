"""Sample pending deliveries."""

from datetime import timedelta
from typing import Any

from application.delivery.outbox import OutboxEntry, OutboxStatus, PendingDelivery, RetryState
from domain.shared.subject import Subject
from domain.tickets.events import stream_id
from domain.tickets.state import TicketState
from domain.tickets.states import State
from domain.tickets.ticket import ClearTicket
from domain.users.recipient import Recipient
from tests.support.fakes import NOW, SUBJECT

TICKET = ClearTicket("k7mWq2xHvT9pRbN4cYdJ8sLf")
IN_GROUPS = "k7mW q2xH vT9p RbN4 cYdJ 8sLf"


def sample_pending(
    subject: Subject = SUBJECT, version: int = 7, *, group_size: int = 4, **recipient: Any
) -> PendingDelivery:
    """Return a pending delivery. recipient: changes to the sample user."""
    known = {
        "email": "una@example.com",
        "name": "Una Üser",
        "language": None,
        "postal_address": ("Bahnhofstrasse 1", "8001 Zürich"),
        **recipient,
    }
    of_user: dict[str, Any] = {"client_ext_id": subject.client_ext_id, "user_ext_id": subject.user_ext_id}
    row = TicketState(
        **of_user,
        stream=stream_id(*subject),
        version=version,
        ext_id="ticket",
        policy_ext_id="default",
        state_name=State.ACTIVE,
        state_change_reason="",
        ticket_hash="",
        created=NOW,
        last_modified=NOW,
        valid_from=NOW,
        valid_to=NOW + timedelta(days=5),
        modification_comment=None,
    )
    return PendingDelivery(
        OutboxEntry(subject, row.stream, version, b"", NOW, group_size=group_size),
        Recipient(**of_user, created=NOW, last_modified=NOW, version=1, **known),
        row,
        RetryState(),
        0,
        OutboxStatus.QUEUED,
        None,
    )
