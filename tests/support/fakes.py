"""Fakes for ports, and made-up facts; tests/contracts keeps the fakes honest."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from application.model.outbox import OutboxEntry, Standing, Trying, Waiting
from application.model.subscription_row import Progress, Subscribed, SubscriptionHead
from application.record.streams import column_date
from application.shared.errors import Conflict, SealBroken
from application.transaction.command import CommandKey, DeliveryKey
from application.transaction.ports import Changes, Erasure, Expiry, Known, Place, TicketQuery
from domain.record.access_log import access_stream_id
from domain.shared.attribution import Attribution
from domain.shared.event import Event
from domain.shared.secret import Secret
from domain.shared.subject import Subject
from domain.subscriptions.subscription import Method, Status, SubscriptionKey
from domain.tickets.state import TicketState
from domain.tickets.ticket import ClearTicket
from domain.tickets.ticket_credential import stream_id
from domain.users.recipient import Recipient

NOW = datetime(2026, 11, 23, 9, 42, tzinfo=UTC)
SUBJECT = Subject("client-123", "user-123")
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass
class FakeClock:
    """Stands still until a test moves it."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


@dataclass
class FakeRandomness:
    """Counts: every value differs from the last, and each run gives the same."""

    drawn: int = 0

    def _next(self) -> bytes:
        self.drawn += 1
        return hashlib.sha256(str(self.drawn).encode()).digest()

    def below(self, bound: int) -> int:
        return int.from_bytes(self._next(), "big") % bound

    def octets(self, count: int) -> bytes:
        return (self._next() * (count // 32 + 1))[:count]

    def uuid(self) -> UUID:
        return UUID(bytes=self._next()[:16], version=4)


class FakeSealer:
    """Keeps the tickets in memory, and the seal is a number."""

    def __init__(self) -> None:
        self.sealed: list[tuple[str, Any]] = []
        self.oldest_new = 0

    def seal(self, secret: Secret, bound_to: str) -> bytes:
        self.sealed.append((bound_to, secret))
        return b"seal %d" % (len(self.sealed) - 1)

    def is_new(self, sealed: bytes) -> bool:
        return int(sealed.removeprefix(b"seal ")) >= self.oldest_new

    def unseal(self, sealed: bytes, bound_to: str) -> Secret:
        try:
            bound, secret = self.sealed[int(sealed.removeprefix(b"seal "))]
        except (ValueError, IndexError):
            raise SealBroken("not a seal") from None
        if bound != bound_to:
            raise SealBroken("moved")
        return Secret(secret.reveal())


class FakeSlowHash:
    """Quick, and just as good for telling right from wrong."""

    def hash(self, ticket: ClearTicket) -> str:
        return "{ARGON2ID}" + hashlib.sha256(ticket.reveal().encode()).hexdigest()

    def matches(self, ticket: ClearTicket, ticket_hash: str | None) -> bool:
        return self.hash(ticket) == ticket_hash


class FakeLease:
    def holds(self) -> bool:
        return True


@dataclass
class FakeOutboxRow:
    entry: OutboxEntry
    so_far: int = 0
    standing: Standing = Standing.QUEUED
    trying: Trying = field(default_factory=Trying)
    next_try: datetime | None = None
    lease: str = ""
    leased_until: datetime | None = None


@dataclass
class FakeStore:
    """Store, Subscriptions and Outbox in memory."""

    events: dict[UUID, list[Event]] = field(default_factory=dict)
    known: Known = field(default_factory=Known)
    outbox: dict[DeliveryKey, FakeOutboxRow] = field(default_factory=dict)
    leases: set[str] = field(default_factory=set)
    notices: dict[SubscriptionKey, str] = field(default_factory=dict)
    ledger_sizes: Counter[str] = field(default_factory=Counter)
    reads_at_once: bool = True

    def look_up(
        self,
        subjects: Sequence[Subject],
        commands: Sequence[CommandKey] = (),
        deliveries: Sequence[DeliveryKey] = (),
    ) -> Known:
        return Known(
            deliveries={key: self.outbox[key].so_far for key in deliveries if key in self.outbox},
            tickets={s: self.known.tickets[s] for s in subjects if s in self.known.tickets},
            recipients={s: self.known.recipients[s] for s in subjects if s in self.known.recipients},
            policies={
                key: row
                for key, row in self.known.policies.items()
                if key.client_ext_id in {subject.client_ext_id for subject in subjects}
            },
            answers={c: self.known.answers[c] for c in commands if c in self.known.answers},
            access_versions={
                client: len(self.events[access_stream_id(client)])
                for client in {subject.client_ext_id for subject in subjects}
                if access_stream_id(client) in self.events
            },
            subscriptions={
                key: subscribed
                for key, subscribed in self.known.subscriptions.items()
                if Subject(key.client_ext_id) in subjects
            },
            ledger_sizes={
                client: self.ledger_sizes[client] for client, user_ext_id in subjects if not user_ext_id
            },
        )

    def commit(self, changes: Changes) -> None:
        streams = {stream: list(events) for stream, events in self.events.items()}
        for event in changes.events:
            stream = streams.setdefault(event.originator_id, [])
            if event.originator_version != len(stream) + 1:
                raise Conflict
            stream.append(event)
        recipients = dict(self.known.recipients)
        for change in changes.recipients:
            known = recipients.pop(change.subject, None)
            version = known.version if known else 0
            if change.version != (version if isinstance(change, Erasure) else version + 1):
                raise Conflict
            if not isinstance(change, Erasure):
                recipients[change.subject] = change
        if changes.answers.keys() & self.known.answers.keys():
            raise Conflict
        for delivery, (so_far, _, _) in changes.deliveries.items():
            if delivery not in self.outbox or self.outbox[delivery].so_far != so_far - 1:
                raise Conflict
        self.events = streams
        self.known.tickets.update(changes.tickets)
        self.known.recipients.clear()
        self.known.recipients.update(recipients)
        self.known.policies.update(changes.policies)
        self.known.answers.update(changes.answers)
        self.outbox.update({entry.key: FakeOutboxRow(entry) for entry in changes.outbox})
        self._change_deliveries(changes)
        self.ledger_sizes.update(subject.client_ext_id for subject in changes.subjects)
        for key, (subscribed, moved, notice) in changes.subscriptions.items():
            before = self.known.subscriptions.get(key)
            reached = subscribed.progress if moved or before is None else before.progress
            progress = msgspec.structs.replace(subscribed.progress, acknowledged=reached.acknowledged)
            self.known.subscriptions[key] = subscribed._replace(progress=progress)
            self.notices[key] = notice

    def _change_deliveries(self, changes: Changes) -> None:
        for key, change in changes.deliveries.items():
            if change.trying is None:
                del self.outbox[key]
                continue
            row = self.outbox[key]
            row.so_far, row.trying, row.next_try = change.so_far, change.trying, change.until
            row.standing, row.lease, row.leased_until = Standing.FAILED, "", None
        for row in self.outbox.values():
            if row.entry.subject in changes.retries:
                row.standing, row.trying, row.next_try = Standing.QUEUED, Trying(), None

    def list_subscriptions(self, client_ext_id: str) -> Sequence[Subscribed]:
        return [
            subscribed
            for key, subscribed in sorted(self.known.subscriptions.items())
            if key.client_ext_id == client_ext_id and not subscribed.row.deleted
        ]

    def subscription(self, key: SubscriptionKey) -> Subscribed | None:
        subscribed = self.known.subscriptions.get(key)
        return None if subscribed is None or subscribed.row.deleted else subscribed

    def subscription_heads(self) -> Sequence[SubscriptionHead]:
        return [
            SubscriptionHead(key, row.version, self.notices.get(key, ""))
            for key, (row, _, _) in self.known.subscriptions.items()
            if not row.deleted and row.status is Status.ENABLED and row.terms.method is not Method.SET_POLL
        ]

    def keep_progress(self, kept: Sequence[tuple[SubscriptionKey, int, Progress]]) -> None:
        for key, version, progress in kept:
            subscribed = self.known.subscriptions.get(key)
            if subscribed and subscribed.row.version == version:
                self.known.subscriptions[key] = subscribed._replace(progress=progress)

    def leave_notice(self, key: SubscriptionKey, notice: str) -> None:
        self.notices[key] = notice

    def take_notice(self, key: SubscriptionKey, notice: str) -> None:
        if self.notices.get(key) == notice:
            del self.notices[key]

    def notice(self, key: SubscriptionKey) -> str:
        return self.notices.get(key, "")

    def history(self, subject: Subject) -> Sequence[Event]:
        return self.events.get(stream_id(*subject), [])

    def list_recipients(self, client_ext_id: str, after: str, limit: int) -> Sequence[Recipient]:
        found = sorted(
            recipient.user_ext_id
            for recipient in self.known.recipients.values()
            if recipient.client_ext_id == client_ext_id and recipient.user_ext_id > after
        )
        return [self.known.recipients[Subject(client_ext_id, user)] for user in found[:limit]]

    def find_tickets(self, query: TicketQuery, after: Place | None, limit: int) -> Sequence[TicketState]:
        def place(row: TicketState) -> Place:
            value = getattr(row, query.order)
            return Place(value if isinstance(value, str) else column_date(value), row.user_ext_id)

        fitting = [
            row
            for row in self.known.tickets.values()
            if row.client_ext_id == query.client_ext_id
            and not row.deleted
            and query.state in (None, row.state_at(query.now))
            and query.policy_ext_id in (None, row.policy_ext_id)
            and (query.expires_before is None or row.valid_to < query.expires_before)
            and (query.last_modified_after is None or row.last_modified > query.last_modified_after)
            and (after is None or place(row) > after)
        ]
        return sorted(fitting, key=place)[:limit]

    def expiring(
        self, ended: datetime, soon: datetime, after: Expiry | None, limit: int
    ) -> Sequence[TicketState]:
        def place(row: TicketState) -> Expiry:
            return Expiry(row.valid_to, *row.subject)

        due = [
            row
            for row in self.known.tickets.values()
            if (row.expiry_step == 0 and row.valid_to <= soon)
            or (row.expiry_step == 1 and row.valid_to <= ended)
        ]
        return sorted((row for row in due if after is None or place(row) > after), key=place)[:limit]

    def longest_warning_days(self) -> int:
        return max(
            (row.policy.close_to_expiration_threshold for row in self.known.policies.values()), default=-1
        )

    @contextmanager
    def lease(self, name: str) -> Iterator["FakeLease | None"]:
        if name in self.leases:
            yield None
            return
        self.leases.add(name)
        yield FakeLease()
        self.leases.remove(name)

    def is_empty(self) -> bool:
        return not self.known.recipients and not self.known.tickets

    def subscription_seals(
        self, after: SubscriptionKey | None, limit: int
    ) -> Sequence[tuple[SubscriptionKey, bytes]]:
        seals = [
            (key, sealed)
            for key, (row, sealed, _) in sorted(self.known.subscriptions.items())
            if not row.deleted and (after is None or key > after)
        ]
        return seals[:limit]

    def reseal_subscription(self, key: SubscriptionKey, former: bytes, sealed: bytes) -> None:
        subscribed = self.known.subscriptions[key]
        if subscribed.sealed == former:
            self.known.subscriptions[key] = subscribed._replace(sealed=sealed)

    def take(self, lease: str, now: datetime, until: datetime, limit: int) -> Sequence[Waiting]:
        leased = {
            row.entry.stream for row in self.outbox.values() if row.leased_until and row.leased_until > now
        }
        due = [
            row
            for row in self.outbox.values()
            if (row.next_try is None or row.next_try <= now) and row.entry.stream not in leased
        ]
        taken = sorted(due, key=lambda row: (row.next_try is not None, row.next_try))[:limit]
        for row in taken:
            row.lease, row.leased_until = lease, until
        return [self._waiting(row) for row in taken]

    def _waiting(self, row: FakeOutboxRow) -> Waiting:
        known, subject = self.known, row.entry.subject
        return Waiting(
            row.entry,
            known.recipients.get(subject),
            known.tickets.get(subject),
            row.trying,
            row.so_far,
            row.standing,
            row.next_try,
        )

    def postpone(self, key: DeliveryKey, lease: str, trying: Trying, next_try: datetime) -> None:
        row = self.outbox.get(key)
        if row and row.lease == lease:
            row.trying, row.next_try, row.lease, row.leased_until = trying, next_try, "", None

    def extend(self, lease: str, keys: Sequence[DeliveryKey], until: datetime) -> None:
        for key in keys:
            if key in self.outbox and self.outbox[key].lease == lease:
                self.outbox[key].leased_until = until

    def let_go(self, lease: str, keys: Sequence[DeliveryKey]) -> None:
        for key in keys:
            if key in self.outbox and self.outbox[key].lease == lease:
                self.outbox[key].lease, self.outbox[key].leased_until = "", None

    def waiting(self, subject: Subject) -> Sequence[Waiting]:
        rows = [row for row in self.outbox.values() if row.entry.subject == subject]
        newest_first = sorted(rows, key=lambda row: row.entry.version, reverse=True)
        return [self._waiting(row) for row in newest_first]

    def outbox_page(self, after: DeliveryKey | None, limit: int) -> Sequence[OutboxEntry]:
        keys = sorted(key for key in self.outbox if after is None or key > after)
        return [self.outbox[key].entry for key in keys[:limit]]

    def reseal(self, entry: OutboxEntry, sealed: bytes) -> None:
        row = self.outbox.get(entry.key)
        if row and row.entry.sealed == entry.sealed:
            row.entry = replace(row.entry, sealed=sealed)

    def close(self) -> None:
        pass


def attribution(**changes: object) -> Attribution:
    """Return who and why, made up but for the changes."""
    fields: dict[str, object] = {
        "timestamp": NOW,
        "actor": "helpdesk",
        "reason": None,
        "correlation_id": TRACEPARENT,
        "command_id": "c" * 32,
        "request_digest": "d" * 64,
    }
    return Attribution(**{**fields, **changes})  # type: ignore[arg-type]
