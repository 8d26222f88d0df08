"""The outbox: clear tickets, sealed, that wait for their delivery, and what was tried with each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol
from uuid import UUID

from msgspec import Struct

from application.transaction.records import RecordSet
from domain.delivery.ticket_delivery import Obsolete
from domain.policies.policy import SendingMethod
from domain.shared.subject import Subject
from domain.tickets.state import TicketState
from domain.tickets.states import State
from domain.users.recipient import Recipient


class DeliveryKey(NamedTuple):
    """The ticket that the event of a version of a credential minted."""

    client_ext_id: str
    stream: UUID
    version: int


def delivery_id(stream: UUID, version: int) -> str:
    """Return the identity of the ticket that the event of this version minted."""
    return f"{stream}-{version}"


@dataclass(frozen=True)
class OutboxEntry:
    """A clear ticket, sealed, that waits for its delivery.

    methods: by which it is sent, each next one where the one before cannot. created, reset_count: of the credential
    when it was minted; correlation_id: of the command that minted it; None where that was before they were kept.
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

    @property
    def key(self) -> DeliveryKey:
        """Which it is."""
        return DeliveryKey(self.subject.client_ext_id, self.stream, self.version)

    @property
    def delivery_id(self) -> str:
        """What its seal is bound to."""
        return delivery_id(self.stream, self.version)


class RetryState(Struct, frozen=True, kw_only=True):
    """What was tried with a ticket. method: which of its methods is at hand; failures: of that one, in a row."""

    method: int = 0
    attempts: int = 0
    failures: int = 0
    failing_since: datetime | None = None
    last_error: str | None = None


class OutboxStatus(StrEnum):
    """Where a ticket in the outbox stands."""

    QUEUED = "queued"
    FAILED = "failed"


class DeliveryProgress(NamedTuple):
    """How far the delivery of a ticket in the outbox is.

    event_count: how many events it has. trying: the retry state of one that has failed; until: when a failed one is looked at
    again.
    """

    event_count: int
    trying: RetryState | None = None
    until: datetime | None = None


OUTBOX = RecordSet[DeliveryKey, OutboxEntry]("outbox")
DELIVERIES = RecordSet[DeliveryKey, DeliveryProgress]("deliveries")
RETRIES = RecordSet[Subject, bool]("retries")
"""Whose queued and failed tickets are to be tried again at once."""


@dataclass(frozen=True)
class PendingDelivery:
    """A ticket in the outbox with whom it is for (None: erased) and what it belongs to now.

    so_far: how many events its delivery has. next_try: None for at once. era: in which it was minted (application/record/eras.py).
    """

    entry: OutboxEntry
    recipient: Recipient | None
    ticket: TicketState | None
    trying: RetryState
    so_far: int
    standing: OutboxStatus
    next_try: datetime | None
    era: str = ""

    @property
    def delivery_id(self) -> str:
        """The same for every attempt at this ticket, so that a double is recognisable, and of no other.

        A store that was put back gives the versions after the cut to other tickets.
        """
        return f"{self.entry.delivery_id}~{self.era}" if self.era else self.entry.delivery_id

    def obsolete(self, now: datetime) -> Obsolete | None:
        """Return why the ticket is not to be sent any more; None where it is."""
        entry, ticket = self.entry, self.ticket
        for why, holds in (
            (Obsolete.ERASED, self.recipient is None),
            (Obsolete.DELETED, ticket is None or ticket.deleted),
            (Obsolete.REPLACED, ticket is not None and not _is_the_one(entry, ticket)),
            (Obsolete.ARCHIVED, ticket is not None and ticket.state_name is State.ARCHIVED),
            (Obsolete.EXPIRED, ticket is not None and now >= ticket.valid_to),
        ):
            if holds:
                return why
        return None


def _is_the_one(entry: OutboxEntry, ticket: TicketState) -> bool:
    if entry.created is None:
        return True
    return (entry.created, entry.reset_count) == (ticket.created, ticket.reset_count)


class Outbox(Protocol):
    """The tickets that wait for their delivery; the other side of `Changes.outbox`. Every method raises StoreUnavailable."""

    def take(self, lease: str, now: datetime, until: datetime, limit: int) -> Sequence[PendingDelivery]:
        """Take the next tickets whose time has come, so that nobody else takes them before `until`.

        Of a credential none is taken while somebody has another, so that the newest ticket arrives last.
        lease: a name that nobody else gives.
        """

    def postpone(self, key: DeliveryKey, lease: str, trying: RetryState, next_try: datetime) -> None:
        """Keep what was tried, and let go until the next try, unless somebody else has taken the ticket meanwhile."""

    def extend(self, lease: str, keys: Sequence[DeliveryKey], until: datetime) -> None:
        """Keep these from the others until then, as far as nobody else has taken them."""

    def release_leases(self, lease: str, keys: Sequence[DeliveryKey]) -> None:
        """Let somebody else take these at once."""

    def waiting(self, subject: Subject) -> Sequence[PendingDelivery]:
        """Return what waits for a user, or has failed, newest first."""

    def outbox_page(self, after: DeliveryKey | None, limit: int) -> Sequence[OutboxEntry]:
        """Return the next entries of all, by key."""

    def reseal(self, entry: OutboxEntry, sealed: bytes) -> None:
        """Put another seal in the place of the entry's, if it still has that."""
