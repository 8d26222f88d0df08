"""The outbox: sealed tickets that await delivery, and their retry state."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol
from uuid import UUID

from msgspec import Struct

from application.transaction.records import RecordSet
from domain.delivery.ticket_delivery import Obsolete
from domain.policies.policy import TICKET_GROUP_SIZE, SendingMethod
from domain.shared.subject import Subject
from domain.tickets.state import TicketState
from domain.tickets.states import State
from domain.users.recipient import Recipient


class DeliveryKey(NamedTuple):
    """The identity of a ticket: the credential, and the version that minted it."""

    client_ext_id: str
    stream: UUID
    version: int


def delivery_id(stream: UUID, version: int) -> str:
    """Return the identity of the ticket that was minted at this version."""
    return f"{stream}-{version}"


class OutboxEntry(Struct, frozen=True, gc=False):
    """A sealed ticket that awaits delivery.

    methods: the sending methods in order of preference. created, reset_count: of the credential at the time of minting.
    correlation_id: of the minting command. address_version: Recipient.addressed_at at the time of minting. These four are
    None in rows of earlier releases. group_size: the policy's ticket_group_size at the time of minting.
    """

    subject: Subject
    stream: UUID
    version: int
    sealed: bytes
    minted: datetime
    methods: tuple[SendingMethod, ...] = (SendingMethod.EMAIL,)
    created: datetime | None = None
    reset_count: int | None = None
    correlation_id: str | None = None
    address_version: int | None = None
    group_size: int = TICKET_GROUP_SIZE

    @property
    def key(self) -> DeliveryKey:
        """The identity of the ticket."""
        return DeliveryKey(self.subject.client_ext_id, self.stream, self.version)

    @property
    def delivery_id(self) -> str:
        """The context to which the seal is bound."""
        return delivery_id(self.stream, self.version)


class RetryState(Struct, frozen=True, kw_only=True):
    """The retry state of a ticket. method: the index of the current method; failures: its consecutive failures.

    address_version: Recipient.addressed_at when a retry was requested; None: none was requested.
    """

    method: int = 0
    attempts: int = 0
    failures: int = 0
    failing_since: datetime | None = None
    last_error: str | None = None
    address_version: int | None = None


class OutboxStatus(StrEnum):
    """The status of a ticket in the outbox."""

    QUEUED = "queued"
    FAILED = "failed"


class DeliveryProgress(NamedTuple):
    """The progress of a delivery.

    event_count: the number of its events. until: of a failed delivery; the sealed ticket is kept until then.
    """

    event_count: int
    status: OutboxStatus = OutboxStatus.QUEUED
    retry_state: RetryState = RetryState()
    until: datetime | None = None


OUTBOX = RecordSet[DeliveryKey, OutboxEntry]("outbox")
DELIVERIES = RecordSet[DeliveryKey, DeliveryProgress]("deliveries")


@dataclass(frozen=True)
class PendingDelivery:
    """A ticket in the outbox with its recipient (None: erased) and the current state of its credential.

    event_count: the number of events of its delivery. next_try: None for now. era: the era of its minting. is_refused: the row
    of the recipient or of the credential is refused, and both are None.
    """

    entry: OutboxEntry
    recipient: Recipient | None
    ticket: TicketState | None
    retry_state: RetryState
    event_count: int
    status: OutboxStatus
    next_try: datetime | None
    era: str = ""
    is_refused: bool = False

    @property
    def delivery_id(self) -> str:
        """The identity of the ticket in every attempt, so that receivers can detect duplicates.

        It includes the era, since a restored store assigns the versions after the backup again.
        """
        return f"{self.entry.delivery_id}~{self.era}" if self.era else self.entry.delivery_id

    @property
    def is_redirected(self) -> bool:
        """Whether an address of the user changed after the ticket was minted or its retry was requested."""
        accepted = self.retry_state.address_version or self.entry.address_version
        return bool(accepted and self.recipient and accepted != self.recipient.addressed_at)

    def obsolete(self, now: datetime) -> Obsolete | None:
        """Return why the ticket must not be delivered any more; None: deliver it."""
        entry, ticket = self.entry, self.ticket
        for why, holds in (
            (Obsolete.ERASED, self.recipient is None),
            (Obsolete.DELETED, ticket is None or ticket.deleted),
            (Obsolete.REPLACED, ticket is not None and not _is_current_ticket(entry, ticket)),
            (Obsolete.ARCHIVED, ticket is not None and ticket.state_name is State.ARCHIVED),
            (Obsolete.EXPIRED, ticket is not None and now >= ticket.valid_to),
        ):
            if holds:
                return why
        return None


def _is_current_ticket(entry: OutboxEntry, ticket: TicketState) -> bool:
    if entry.created is None:
        return True
    return (entry.created, entry.reset_count) == (ticket.created, ticket.reset_count)


class Outbox(Protocol):
    """The tickets that await delivery. Every method raises StoreUnavailable."""

    def take(self, lease: str, now: datetime, until: datetime, limit: int) -> Sequence[PendingDelivery]:
        """Lease the next due tickets until a time.

        At most one ticket of a credential is leased at a time, so that the newest ticket arrives last. lease: a unique
        name.
        """

    def postpone(
        self, key: DeliveryKey, lease: str, event_count: int, retry_state: RetryState, next_try: datetime
    ) -> None:
        """Save the retry state and release the lease until the next attempt, unless the lease was lost.

        event_count: of the delivery when the attempt began. If a retry was requested since, only the lease is released.
        """

    def extend(self, lease: str, keys: Sequence[DeliveryKey], until: datetime) -> None:
        """Extend the leases that were not lost."""

    def release_leases(self, lease: str, keys: Sequence[DeliveryKey]) -> None:
        """Release the leases."""

    def pending(self, subject: Subject) -> Sequence[PendingDelivery]:
        """Return the queued and failed tickets of a user, newest first."""

    def outbox_page(self, after: DeliveryKey | None, limit: int) -> Sequence[OutboxEntry]:
        """Return the next entries of all clients, sorted by key."""

    def reseal(self, entry: OutboxEntry, sealed: bytes) -> None:
        """Replace the sealed ticket, unless it has changed."""
