"""What the commands of one transaction see and change, before any of it is stored."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast

from application.model.outbox import DeliveryChange, OutboxEntry, Trying
from application.model.subscription_row import Progress, Subscribed, SubscriptionChange
from application.shared.errors import PolicyUnknown, TicketExists, TicketUnknown, UserUnknown
from application.transaction.command import DeliveryKey
from application.transaction.ports import Changes, Erasure, Known
from domain.delivery.ticket_delivery import DeliveryEvent
from domain.policies.policy import DEFAULT_POLICY, DEFAULT_POLICY_ID, SendingMethod, TicketPolicy
from domain.policies.policy_definition import PolicyDefinition, PolicyKey, PolicyState
from domain.record.access_log import AccessNoted
from domain.shared.event import Event
from domain.shared.subject import Subject
from domain.subscriptions.subscription import Subscription, SubscriptionKey
from domain.tickets.state import TicketState
from domain.tickets.ticket_credential import TicketCredential
from domain.users.recipient import Recipient


class UnitOfWork:
    """The view of one command: what the store knows, under what earlier commands of the batch changed.

    Rows are immutable and aggregates are restored from them anew for each command, so a command that fails
    half-way leaves nothing behind: its `changes` are simply not taken over.
    """

    def __init__(self, known: Known) -> None:
        self._known = known
        self.changes = Changes()

    def recipient(self, subject: Subject) -> Recipient:
        """Return the user. Raises UserUnknown."""
        recipient = self.recipient_or_none(subject)
        if recipient is None:
            raise UserUnknown(
                f"There is no user {subject.user_ext_id!r} in client {subject.client_ext_id!r}."
            )
        return recipient

    def recipient_or_none(self, subject: Subject) -> Recipient | None:
        """Return the user, or None."""
        return self._known.recipients.get(subject)

    def ticket(self, subject: Subject) -> TicketState:
        """Return the row of the user's credential. Raises UserUnknown or TicketUnknown."""
        self.recipient(subject)
        row = self.ticket_or_none(subject)
        if row is None:
            raise TicketUnknown(f"User {subject.user_ext_id!r} has no ticket. Create one first.")
        return row

    def ticket_or_none(self, subject: Subject) -> TicketState | None:
        """Return the row of the user's credential, or None where there is no such user or ticket."""
        row = self._known.tickets.get(subject) if subject in self._known.recipients else None
        return None if row is None or row.deleted else row

    def new_credential(self, subject: Subject) -> TicketCredential:
        """Return the credential of a user that has none, or whose former one was deleted. Raises TicketExists."""
        state = self._known.tickets.get(subject)
        if state is not None and not state.deleted:
            raise TicketExists(
                f"User {subject.user_ext_id!r} has a ticket already. Reset it to get a new one."
            )
        return TicketCredential.of(subject, state)

    def credential(self, subject: Subject) -> TicketCredential:
        """Return the user's credential. Raises UserUnknown or TicketUnknown."""
        return TicketCredential.of(subject, self.ticket(subject))

    def policy(self, key: PolicyKey) -> TicketPolicy:
        """Return the policy as it is now. Raises PolicyUnknown."""
        row = self._known.policies.get(key)
        if row is not None:
            return row.policy
        if key.policy_ext_id != DEFAULT_POLICY_ID:
            raise PolicyUnknown(f"There is no policy {key.policy_ext_id!r} in client {key.client_ext_id!r}.")
        return DEFAULT_POLICY

    def policy_row(self, key: PolicyKey) -> PolicyState | None:
        """Return the row of a policy that the client defined, or None."""
        return self._known.policies.get(key)

    def default_policy(self, client_ext_id: str) -> PolicyKey:
        """Return which policy holds for a new ticket where none is named."""
        for key, row in self._known.policies.items():
            if key.client_ext_id == client_ext_id and row.is_default:
                return key
        return PolicyKey(client_ext_id, DEFAULT_POLICY_ID)

    def save_policy(self, definition: PolicyDefinition) -> PolicyState:
        """Record the events of the policy; return its state after them."""
        state, events = definition.state, cast("list[Event]", definition.collect_events())
        if state is None:
            raise ValueError("a policy without an event is not saved")
        if events:
            self._take_over(events, Subject(state.client_ext_id))
            self.changes.policies[state.key] = state
        return state

    def subscriptions(self) -> Mapping[SubscriptionKey, Subscribed]:
        """Return the subscriptions of the client that is the subject, deleted ones among them."""
        return self._known.subscriptions

    def ledger_size(self, client_ext_id: str) -> int:
        """Return the position of the client's newest event, when the client is the subject; 0: there is none."""
        return self._known.ledger_sizes.get(client_ext_id, 0)

    def save_subscription(
        self, subscription: Subscription, sealed: bytes, position: int | None = None, notice: str = ""
    ) -> Subscribed:
        """Record the events of the subscription; return it as it is after them.

        position: after which it continues; None: it does not move. notice: to be sent to the receiver.
        """
        state, events = subscription.state, cast("list[Event]", subscription.collect_events())
        if state is None:
            raise ValueError("a subscription without an event is not saved")
        known = self._known.subscriptions.get(state.key)
        if known and not events:
            return known
        reached = known.progress.acknowledged if known and position is None else position or 0
        progress = Progress(acknowledged=reached, last_success=known.progress.last_success if known else None)
        subscribed = Subscribed(state, sealed, progress)
        self._take_over(events, Subject(state.client_ext_id))
        self.changes.subscriptions[state.key] = SubscriptionChange(subscribed, position is not None, notice)
        return subscribed

    def save(self, credential: TicketCredential) -> TicketState:
        """Record the events of the credential; return its state after them."""
        state, events = credential.current, cast("list[Event]", credential.collect_events())
        if events:
            self._take_over(events, state.subject)
            self.changes.tickets[state.subject] = state
        return state

    def access_version(self, client_ext_id: str) -> int:
        """Return the version of the client's access log; 0 where there is none."""
        return self._known.access_versions.get(client_ext_id, 0)

    def save_access(self, entry: AccessNoted) -> None:
        """Take over an entry of an access log."""
        self._take_over([entry], Subject(entry.client_ext_id, entry.user_ext_id))
        self.changes.access_versions[entry.client_ext_id] = entry.originator_version

    def _take_over(self, events: Sequence[Event], subject: Subject) -> None:
        self.changes.events.extend(events)
        self.changes.subjects.extend([subject] * len(events))

    def save_recipient(self, recipient: Recipient) -> None:
        """Take over a new or changed user."""
        self.changes.recipients.append(recipient)

    def erase(self, recipient: Recipient) -> None:
        """Forget a user."""
        self.changes.recipients.append(Erasure(recipient.subject, recipient.version))

    def hand_over(
        self, row: TicketState, sealed: bytes, methods: tuple[SendingMethod, ...], correlation_id: str
    ) -> None:
        """Put the sealed ticket that the row's version minted into the outbox."""
        minted = (row.last_modified, methods, row.created, row.reset_count, correlation_id)
        self.changes.outbox.append(OutboxEntry(row.subject, row.stream, row.version, sealed, *minted))

    def delivery(self, key: DeliveryKey) -> int | None:
        """Return how many events the delivery of a ticket in the outbox has; None: it is not there any more."""
        return self._known.deliveries.get(key)

    def save_delivery(
        self,
        key: DeliveryKey,
        event: DeliveryEvent,
        *,
        kept: tuple[Trying, datetime | None] | None = None,
    ) -> None:
        """Take over what became of a delivery.

        kept: what was tried with one that has failed, and until when it is kept; None: the sealed ticket goes.
        """
        trying, until = kept or (None, None)
        self._take_over([event], Subject(event.client_ext_id, event.user_ext_id))
        self.changes.deliveries[key] = DeliveryChange(event.originator_version, trying, until)

    def retry_deliveries(self, subject: Subject) -> None:
        """Have what waits for a user, or has failed, tried again now."""
        self.changes.retries.append(subject)


def merge(known: Known, total: Changes, changes: Changes) -> None:
    """Add what one command changed to the whole of its batch, and let the next command see it."""
    total.events.extend(changes.events)
    total.subjects.extend(changes.subjects)
    known.access_versions.update(changes.access_versions)
    total.outbox.extend(changes.outbox)
    total.retries.extend(changes.retries)
    total.deliveries.update(changes.deliveries)
    for delivery in changes.deliveries:
        known.deliveries.pop(delivery, None)  # nothing more is said of it in the same batch
    for key, later in changes.subscriptions.items():
        earlier = total.subscriptions.get(key)
        moved = later.moved or (earlier is not None and earlier.moved)
        total.subscriptions[key] = later._replace(moved=moved)
        known.subscriptions[key] = later.subscribed
    total.recipients.extend(changes.recipients)
    for change in changes.recipients:
        if isinstance(change, Erasure):
            del known.recipients[change.subject]
        else:
            known.recipients[change.subject] = change
    for mine, theirs, new in (
        (known.tickets, total.tickets, changes.tickets),
        (known.policies, total.policies, changes.policies),
        (known.answers, total.answers, changes.answers),
    ):
        mine.update(new)  # type: ignore[arg-type]
        theirs.update(new)  # type: ignore[arg-type]
