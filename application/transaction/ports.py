"""What the application needs of the world. Adapters name their mechanism; these name the need."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from application.model.outbox import DeliveryChange, OutboxEntry, Trying, Waiting
from application.model.subscription_row import Progress, Subscribed, SubscriptionChange, SubscriptionHead
from application.transaction.command import Answer, CommandKey, DeliveryKey
from domain.policies.policy_definition import PolicyKey, PolicyState
from domain.shared.event import Event
from domain.shared.secret import Secret
from domain.shared.subject import Subject
from domain.subscriptions.subscription import SubscriptionKey
from domain.tickets.state import TicketState
from domain.tickets.states import State
from domain.tickets.ticket import ClearTicket
from domain.users.recipient import Recipient


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

    def is_new(self, sealed: bytes) -> bool:
        """Tell whether it is sealed as it would be now, and not with a former key."""


class SlowHash(Protocol):
    """A password hash: takes long and much memory, so it runs beside the writer, and few at a time."""

    def hash(self, ticket: ClearTicket) -> str:
        """Return `{ARGON2ID}` and the PHC string."""

    def matches(self, ticket: ClearTicket, ticket_hash: str | None) -> bool:
        """Tell whether the ticket is behind the hash; without one it costs the same and is False."""


@dataclass(frozen=True)
class Known:
    """What the store knows of some subjects, of their clients' policies and access logs, and of some commands.

    access_versions: the version of a client's access log; missing where there is none.
    subscriptions, ledger_sizes: of the clients that are subjects themselves; a deleted subscription, too.
    deliveries: of those in the outbox, how many events there are.
    """

    tickets: dict[Subject, TicketState] = field(default_factory=dict)
    recipients: dict[Subject, Recipient] = field(default_factory=dict)
    policies: dict[PolicyKey, PolicyState] = field(default_factory=dict)
    answers: dict[CommandKey, Answer] = field(default_factory=dict)
    access_versions: dict[str, int] = field(default_factory=dict)
    subscriptions: dict[SubscriptionKey, Subscribed] = field(default_factory=dict)
    ledger_sizes: dict[str, int] = field(default_factory=dict)
    deliveries: dict[DeliveryKey, int] = field(default_factory=dict)


class Erasure(NamedTuple):
    """A user to forget, in the version that is forgotten."""

    subject: Subject
    version: int


@dataclass(frozen=True)
class Changes:
    """All that must become true at the same moment (design, decision 5).

    subjects: about whom each of the events is, in the same order. retries: whose tickets are tried again now.
    """

    events: list[Event] = field(default_factory=list)
    subjects: list[Subject] = field(default_factory=list)
    tickets: dict[Subject, TicketState] = field(default_factory=dict)
    recipients: list[Recipient | Erasure] = field(default_factory=list)
    policies: dict[PolicyKey, PolicyState] = field(default_factory=dict)
    outbox: list[OutboxEntry] = field(default_factory=list)
    answers: dict[CommandKey, Answer] = field(default_factory=dict)
    access_versions: dict[str, int] = field(default_factory=dict)
    subscriptions: dict[SubscriptionKey, SubscriptionChange] = field(default_factory=dict)
    deliveries: dict[DeliveryKey, DeliveryChange] = field(default_factory=dict)
    retries: list[Subject] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.events or self.recipients or self.answers or self.retries)


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

    def look_up(
        self,
        subjects: Sequence[Subject],
        commands: Sequence[CommandKey] = (),
        deliveries: Sequence[DeliveryKey] = (),
    ) -> Known:
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

    def find_tickets(self, query: TicketQuery, after: Place | None, limit: int) -> Sequence[TicketState]:
        """Return the next tickets that fit, in the query's order. Raises StoreUnavailable."""

    def expiring(
        self, ended: datetime, soon: datetime, after: Expiry | None, limit: int
    ) -> Sequence[TicketState]:
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

    def subscription_seals(
        self, after: SubscriptionKey | None, limit: int
    ) -> Sequence[tuple[SubscriptionKey, bytes]]:
        """Return what is sealed of the next subscriptions of all, by key; of those that are deleted nothing."""

    def reseal_subscription(self, key: SubscriptionKey, former: bytes, sealed: bytes) -> None:
        """Put another seal in the place of the former one, if that is still there."""


class Outbox(Protocol):
    """The tickets that wait for their delivery; the other side of `Changes.outbox`. Every method raises StoreUnavailable."""

    def take(self, lease: str, now: datetime, until: datetime, limit: int) -> Sequence[Waiting]:
        """Take the next tickets whose time has come, so that nobody else takes them before `until`.

        Of a credential none is taken while somebody has another, so that the newest ticket arrives last.
        lease: a name that nobody else gives.
        """

    def postpone(self, key: DeliveryKey, lease: str, trying: Trying, next_try: datetime) -> None:
        """Keep what was tried, and let go until the next try, unless somebody else has taken the ticket meanwhile."""

    def extend(self, lease: str, keys: Sequence[DeliveryKey], until: datetime) -> None:
        """Keep these from the others until then, as far as nobody else has taken them."""

    def let_go(self, lease: str, keys: Sequence[DeliveryKey]) -> None:
        """Let somebody else take these at once."""

    def waiting(self, subject: Subject) -> Sequence[Waiting]:
        """Return what waits for a user, or has failed, newest first."""

    def outbox_page(self, after: DeliveryKey | None, limit: int) -> Sequence[OutboxEntry]:
        """Return the next entries of all, by key."""

    def reseal(self, entry: OutboxEntry, sealed: bytes) -> None:
        """Put another seal in the place of the entry's, if it still has that."""
