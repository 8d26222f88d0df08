"""What the application needs of the world. Adapters name their mechanism; these name the need."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from application.command import Answer, CommandKey, Subject
from application.policy_row import PolicyRow
from application.projection import TicketRow
from application.recipient import Recipient
from application.subscription_row import (
    Progress,
    Subscribed,
    SubscriptionChange,
    SubscriptionHead,
    SubscriptionKey,
)
from domain.event import Event
from domain.secret import Secret
from domain.states import State
from domain.ticket import ClearTicket


class Clock(Protocol):
    """The time now, aware UTC."""

    def __call__(self) -> datetime:
        """Return it."""


class Randomness(Protocol):
    """A cryptographic source; tests inject their own."""

    def below(self, bound: int) -> int:
        """Return a uniformly random integer in [0, bound)."""

    def octets(self, count: int) -> bytes:
        """Return that many random bytes."""

    def uuid(self) -> UUID:
        """Return a new random id."""


class Sealer(Protocol):
    """Keeps what the store must not know: a ticket between its commit and its delivery, where a subscription goes."""

    def seal(self, secret: Secret, bound_to: str) -> bytes:
        """Encrypt the secret; only together with the same `bound_to` does it open again."""

    def unseal(self, sealed: bytes, bound_to: str) -> Secret:
        """Return the secret. Raises SealBroken."""


class PolicyKey(NamedTuple):
    """A policy of a client."""

    client_ext_id: str
    policy_ext_id: str


class SlowHash(Protocol):
    """A password hash: takes long and much memory, so it runs beside the writer, and few at a time."""

    def hash(self, ticket: ClearTicket) -> str:
        """Return `{ARGON2ID}` and the PHC string."""

    def matches(self, ticket: ClearTicket, ticket_hash: str | None) -> bool:
        """Tell whether the ticket is behind the hash; without one it costs the same and is False."""


@dataclass(frozen=True)
class OutboxEntry:
    """A clear ticket, sealed, that waits for its delivery."""

    subject: Subject
    stream: UUID
    version: int
    sealed: bytes
    minted: datetime

    @property
    def delivery_id(self) -> str:
        """The same for every attempt at this ticket, so that a double is recognisable."""
        return delivery_id(self.stream, self.version)


def delivery_id(stream: UUID, version: int) -> str:
    """Return the identity of the ticket that the event of this version minted."""
    return f"{stream}-{version}"


@dataclass(frozen=True)
class Known:
    """What the store knows of some subjects, of their clients' policies and access logs, and of some commands.

    access_versions: the version of a client's access log; missing where there is none.
    subscriptions, ledger_sizes: of the clients that are subjects themselves; a deleted subscription, too.
    """

    tickets: dict[Subject, TicketRow] = field(default_factory=dict)
    recipients: dict[Subject, Recipient] = field(default_factory=dict)
    policies: dict[PolicyKey, PolicyRow] = field(default_factory=dict)
    answers: dict[CommandKey, Answer] = field(default_factory=dict)
    access_versions: dict[str, int] = field(default_factory=dict)
    subscriptions: dict[SubscriptionKey, Subscribed] = field(default_factory=dict)
    ledger_sizes: dict[str, int] = field(default_factory=dict)


class Erasure(NamedTuple):
    """A user to forget, in the version that is forgotten."""

    subject: Subject
    version: int


@dataclass(frozen=True)
class Changes:
    """All that must become true at the same moment (design, decision 5).

    subjects: about whom each of the events is, in the same order.
    """

    events: list[Event] = field(default_factory=list)
    subjects: list[Subject] = field(default_factory=list)
    tickets: dict[Subject, TicketRow] = field(default_factory=dict)
    recipients: list[Recipient | Erasure] = field(default_factory=list)
    policies: dict[PolicyKey, PolicyRow] = field(default_factory=dict)
    outbox: list[OutboxEntry] = field(default_factory=list)
    answers: dict[CommandKey, Answer] = field(default_factory=dict)
    access_versions: dict[str, int] = field(default_factory=dict)
    subscriptions: dict[SubscriptionKey, SubscriptionChange] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.events or self.recipients or self.answers)


class Place(NamedTuple):
    """After which ticket a page goes on: the text of the column by which it is ordered, and the user's id."""

    value: str
    user_ext_id: str


class Expiry(NamedTuple):
    """After which ticket a page of expiring ones goes on."""

    valid_to: datetime
    client_ext_id: str
    user_ext_id: str


@dataclass(frozen=True)
class TicketQuery:
    """Which tickets of a client to find; what is None does not matter. Deleted ones are never found.

    now: the moment at which the state is meant, since a temporary lock ends by itself.
    """

    client_ext_id: str
    now: datetime
    state: State | None = None
    policy_ext_id: str | None = None
    expires_before: datetime | None = None
    last_modified_after: datetime | None = None

    @property
    def order(self) -> str:
        """By which column the pages go on: that of the range that is asked for, else the user's id."""
        if self.expires_before:
            return "valid_to"
        return "last_modified" if self.last_modified_after else "user_ext_id"


class Lease(Protocol):
    """A name that this process holds."""

    def holds(self) -> bool:
        """Tell whether it still does: a store that was out of reach may have given it to another."""


class Store(Protocol):
    """Where events, and what must be true with them, are kept.

    reads_at_once: a look-up by key takes microseconds and waits for nobody, so it needs no thread.
    """

    @property
    def reads_at_once(self) -> bool:
        """Tell it."""

    def look_up(self, subjects: Sequence[Subject], commands: Sequence[CommandKey] = ()) -> Known:
        """Return what is committed of these. Raises StoreUnavailable."""

    def commit(self, changes: Changes) -> None:
        """Store all of it durably, or nothing.

        Raises Conflict where another process has stored one of these versions or answers already, and
        StoreUnavailable, after which it is unknown whether the changes were stored.
        """

    def history(self, subject: Subject) -> Sequence[Event]:
        """Return every event of the credential, oldest first."""

    def list_recipients(self, client_ext_id: str, after: str, limit: int) -> Sequence[Recipient]:
        """Return the next users of a client, by their ids. Raises StoreUnavailable."""

    def find_tickets(self, query: TicketQuery, after: Place | None, limit: int) -> Sequence[TicketRow]:
        """Return the next tickets that fit, in the query's order. Raises StoreUnavailable."""

    def expiring(
        self, ended: datetime, soon: datetime, after: Expiry | None, limit: int
    ) -> Sequence[TicketRow]:
        """Return the next live tickets of which is still to be said that they end before `soon`, or ended.

        By their end, client and user. Raises StoreUnavailable.
        """

    def longest_warning_days(self) -> int:
        """Return the longest closeToExpirationThreshold of any policy that was defined; -1 where there is none."""

    def lease(self, name: str) -> AbstractContextManager["Lease | None"]:
        """Hold a name that one process at a time can hold, until it lets go or dies; None: another holds it."""

    def is_empty(self) -> bool:
        """Tell whether nothing was ever stored."""

    def close(self) -> None:
        """Give back connections and files."""


class Subscriptions(Protocol):
    """How far the subscribers got; the other side of `Changes.subscriptions`. Every method raises StoreUnavailable."""

    def list_subscriptions(self, client_ext_id: str) -> Sequence[Subscribed]:
        """Return every subscription of a client that is not deleted, by name."""

    def subscription(self, key: SubscriptionKey) -> Subscribed | None:
        """Return a subscription; None where there is none, or it is deleted."""

    def subscription_heads(self) -> Sequence[SubscriptionHead]:
        """Return the heads of all subscriptions that are pushed: those that are enabled, and are not polled."""

    def keep_progress(self, kept: Sequence[tuple[SubscriptionKey, int, Progress]]) -> None:
        """Keep how far subscribers got, each unless the subscription has another version by now."""

    def leave_notice(self, key: SubscriptionKey, notice: str) -> None:
        """Keep what is still to be said about a subscription to its receiver, in the place of what was before."""

    def take_notice(self, key: SubscriptionKey, notice: str) -> None:
        """Forget it."""

    def notice(self, key: SubscriptionKey) -> str:
        """Return what is still to be said; empty: nothing."""


class Outbox(Protocol):
    """The tickets that wait for their delivery; the other side of `Changes.outbox`."""

    def pending(
        self, after: OutboxEntry | None, limit: int
    ) -> Sequence[tuple[OutboxEntry, Recipient | None]]:
        """Return the next entries in a fixed order, each with its recipient (None: erased)."""

    def remove(self, entries: Sequence[OutboxEntry]) -> None:
        """Forget the sealed tickets of these."""


class Delivery(Protocol):
    """Brings clear tickets to their users."""

    def deliver(self, ticket: ClearTicket, recipient: Recipient, entry: OutboxEntry) -> None:
        """Hand one ticket over for good: when this returns, a crash no longer loses it. May be called again."""
