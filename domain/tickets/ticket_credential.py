"""The aggregate: one ticket credential per user and client, and everything that ever happened to it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self
from uuid import UUID, uuid5

from eventsourcing.domain import BaseAggregate, CanInitAggregate

from domain.policies.policy import OFF, TicketPolicy
from domain.shared.attribution import Attribution
from domain.shared.errors import CredentialArchived, CredentialDisabled, CredentialFinal, ValidityImpossible
from domain.shared.event import Event as _Event
from domain.tickets import states
from domain.tickets.states import State

_STREAMS = UUID("6f5fd1b7-2f0b-5a52-8c1e-5d3b1d1f3a60")


class Verdict(StrEnum):
    """Why a ticket is not verified, spelt as in the contract."""

    WRONG_TICKET = "wrong-ticket"
    LOCKED = "locked"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    USED = "used"
    DISABLED = "disabled"


@dataclass(frozen=True)
class Validity:
    """From when until when a ticket may be used, both aware UTC.

    Raises ValidityImpossible where the end is not after the start.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValidityImpossible(
                f"The validity ends at {self.end:%Y-%m-%dT%H:%M:%SZ}, not after it begins."
            )

    @classmethod
    def by(cls, policy: TicketPolicy, start: datetime) -> Self:
        """Return the validity that the policy gives to a ticket made at `start`."""
        try:
            return cls(start, start + policy.lifetime)
        except OverflowError:
            raise ValidityImpossible("The validity ends beyond the year 9999.") from None


def stream_id(client_ext_id: str, user_ext_id: str) -> UUID:
    """Return the id of the one stream of this user and client (design, decision 4).

    That a user has one ticket is therefore the store's own uniqueness rule. Ids hold no control characters,
    so the separator keeps ("a", "bc") and ("ab", "c") apart.
    """
    return uuid5(_STREAMS, f"{client_ext_id}\x1f{user_ext_id}")


class TicketCredential(BaseAggregate[UUID]):
    """A ticket credential: decides in its public methods, evolves in its events' `apply`.

    Each public method checks, then triggers at most one event. `apply` only assigns and cannot fail.
    """

    TOPIC = "TicketCredential"

    def __init__(self) -> None:
        # Declared only: TicketCreated assigns them. (Annotations on the class would make the library
        # generate an initialiser of its own.)
        self.client_ext_id: str
        self.user_ext_id: str
        self.ext_id: str
        self.policy_ext_id: str
        self.state: State
        self.locked_until: datetime | None
        self.ticket_hash: str
        self.validity: Validity
        self.comment: str | None
        self.successes: int  # since the ticket was made
        self.misses: int  # since the last success, and since the ticket was made
        self.reset_count: int
        self.expiry_warned: bool
        self.expiry_recorded: bool
        self.deleted: bool

    # Stored shapes only grow: by fields with a default, or by new events. No field, topic or meaning of one
    # that was ever released changes; tests/domain/record/golden_events.jsonl holds the stored bytes of each.

    @dataclass(frozen=True, kw_only=True)
    class Event(_Event):
        """Something that happened to a credential."""

    @dataclass(frozen=True, kw_only=True)
    class TicketCreated(Event, CanInitAggregate[UUID]):
        """The credential exists from now on, with its first ticket. After a deletion the stream goes on with it."""

        TOPIC = "TicketCreated"
        originator_topic: str
        client_ext_id: str
        user_ext_id: str
        ext_id: str
        policy_ext_id: str
        state_name: State
        ticket_hash: str
        valid_from: datetime
        valid_to: datetime

        def mutate(self, aggregate: Any) -> Any:
            """Begin, or go on after a deletion."""
            return super().mutate(None) if aggregate is None else _Event.mutate(self, aggregate)

        def apply(self, aggregate: "TicketCredential") -> None:
            """Evolve."""
            aggregate.client_ext_id = self.client_ext_id
            aggregate.user_ext_id = self.user_ext_id
            aggregate.ext_id = self.ext_id
            aggregate.policy_ext_id = self.policy_ext_id
            aggregate.state = self.state_name
            aggregate.comment = self.reason
            aggregate.reset_count = 0
            aggregate.deleted = False
            aggregate.take_ticket(self.ticket_hash, Validity(self.valid_from, self.valid_to))

    @dataclass(frozen=True, kw_only=True)
    class TicketRegenerated(Event):
        """A new ticket took the place of the old one, which is dead; locks are lifted."""

        TOPIC = "TicketRegenerated"
        ticket_hash: str
        reset_count: int
        valid_from: datetime
        valid_to: datetime

        def apply(self, aggregate: "TicketCredential") -> None:
            """Evolve."""
            aggregate.state = State.ACTIVE
            aggregate.comment = self.reason
            aggregate.reset_count = self.reset_count
            aggregate.take_ticket(self.ticket_hash, Validity(self.valid_from, self.valid_to))

    @dataclass(frozen=True, kw_only=True)
    class TicketStateChanged(Event):
        """Somebody activated, disabled or archived the credential."""

        TOPIC = "TicketStateChanged"
        state_name: State

        def apply(self, aggregate: "TicketCredential") -> None:
            """Evolve."""
            aggregate.state = self.state_name
            aggregate.locked_until = None
            aggregate.misses = 0
            aggregate.comment = self.reason or aggregate.comment

    @dataclass(frozen=True, kw_only=True)
    class TicketPolicyAssigned(Event):
        """Another policy holds from the next time it is applied."""

        TOPIC = "TicketPolicyAssigned"
        policy_ext_id: str

        def apply(self, aggregate: "TicketCredential") -> None:
            """Evolve."""
            aggregate.policy_ext_id = self.policy_ext_id
            aggregate.comment = self.reason or aggregate.comment

    @dataclass(frozen=True, kw_only=True)
    class TicketValidityChanged(Event):
        """The same ticket is valid from and until other times."""

        TOPIC = "TicketValidityChanged"
        valid_from: datetime
        valid_to: datetime

        def apply(self, aggregate: "TicketCredential") -> None:
            """Evolve."""
            aggregate.validity = Validity(self.valid_from, self.valid_to)
            aggregate.expiry_warned = aggregate.expiry_recorded = False
            aggregate.comment = self.reason or aggregate.comment

    @dataclass(frozen=True, kw_only=True)
    class TicketCommented(Event):
        """Somebody wrote another comment; the reason is that comment."""

        TOPIC = "TicketCommented"

        def apply(self, aggregate: "TicketCredential") -> None:
            """Evolve."""
            aggregate.comment = self.reason

    @dataclass(frozen=True, kw_only=True)
    class TicketVerified(Event):
        """The right ticket was presented, and accepted."""

        TOPIC = "TicketVerified"

        def apply(self, aggregate: "TicketCredential") -> None:
            """Evolve."""
            aggregate.state = State.ACTIVE
            aggregate.locked_until = None
            aggregate.successes += 1
            aggregate.misses = 0

    @dataclass(frozen=True, kw_only=True)
    class WrongTicketPresented(Event):
        """A wrong ticket was presented; state_name and locked_until are what that led to."""

        TOPIC = "WrongTicketPresented"
        state_name: State
        locked_until: datetime | None

        def apply(self, aggregate: "TicketCredential") -> None:
            """Evolve."""
            aggregate.state = self.state_name
            aggregate.locked_until = self.locked_until
            aggregate.misses += 1

    @dataclass(frozen=True, kw_only=True)
    class TicketHashUpgraded(Event):
        """The same ticket is hashed as the policy asks today."""

        TOPIC = "TicketHashUpgraded"
        ticket_hash: str

        def apply(self, aggregate: "TicketCredential") -> None:
            """Evolve."""
            aggregate.ticket_hash = self.ticket_hash

    @dataclass(frozen=True, kw_only=True)
    class TicketExpirySoon(Event):
        """The ticket's validity ends soon; said once per ticket."""

        TOPIC = "TicketExpirySoon"
        valid_to: datetime

        def apply(self, aggregate: "TicketCredential") -> None:
            """Evolve."""
            aggregate.expiry_warned = True

    @dataclass(frozen=True, kw_only=True)
    class TicketExpired(Event):
        """The ticket's validity has ended; said once per ticket."""

        TOPIC = "TicketExpired"
        valid_to: datetime

        def apply(self, aggregate: "TicketCredential") -> None:
            """Evolve."""
            aggregate.expiry_warned = aggregate.expiry_recorded = True

    @dataclass(frozen=True, kw_only=True)
    class TicketDeleted(Event):
        """The credential is gone; its history stays."""

        TOPIC = "TicketDeleted"

        def apply(self, aggregate: "TicketCredential") -> None:
            """Evolve."""
            aggregate.deleted = True

    @classmethod
    def create(
        cls,
        client_ext_id: str,
        user_ext_id: str,
        *,
        ext_id: str,
        policy_ext_id: str,
        state: State,
        ticket_hash: str,
        validity: Validity,
        by: Attribution,
    ) -> Self:
        """Begin the credential of a user with its first ticket."""
        return cls._create(
            cls.TicketCreated,
            id=stream_id(client_ext_id, user_ext_id),
            client_ext_id=client_ext_id,
            user_ext_id=user_ext_id,
            ext_id=ext_id,
            policy_ext_id=policy_ext_id,
            state_name=state,
            ticket_hash=ticket_hash,
            valid_from=validity.start,
            valid_to=validity.end,
            **vars(by),
        )

    def create_again(
        self,
        *,
        ext_id: str,
        policy_ext_id: str,
        state: State,
        ticket_hash: str,
        validity: Validity,
        by: Attribution,
    ) -> Self:
        """Give the user of a deleted credential a ticket again, in the same stream."""
        self.trigger_event(
            self.TicketCreated,
            originator_topic=self.TOPIC,
            client_ext_id=self.client_ext_id,
            user_ext_id=self.user_ext_id,
            ext_id=ext_id,
            policy_ext_id=policy_ext_id,
            state_name=state,
            ticket_hash=ticket_hash,
            valid_from=validity.start,
            valid_to=validity.end,
            **vars(by),
        )
        return self

    def regenerate(self, ticket_hash: str, validity: Validity, *, by: Attribution) -> None:
        """Replace the ticket by a new one: the old stops verifying, a lock is lifted, the count rises by one.

        Raises CredentialDisabled or CredentialArchived: a reset revives neither (contract.md).
        """
        if self.state is State.DISABLED:
            raise CredentialDisabled("The ticket is disabled. Activate it before you reset it.")
        if self.state not in states.REGENERATE.sources:
            raise CredentialArchived(
                "The ticket is archived, which is final. Delete it and create a new one."
            )
        self.trigger_event(
            self.TicketRegenerated,
            ticket_hash=ticket_hash,
            reset_count=self.reset_count + 1,
            valid_from=validity.start,
            valid_to=validity.end,
            **vars(by),
        )

    def change_state(self, state: State, *, by: Attribution) -> None:
        """Activate, disable or archive. Raises CredentialFinal."""
        self._refuse_when_final()
        if state is not self.state_at(by.timestamp) or state is not self.state:
            self.trigger_event(self.TicketStateChanged, state_name=state, **vars(by))

    def assign_policy(self, policy_ext_id: str, *, by: Attribution) -> None:
        """Let another policy hold from the next time it is applied. Raises CredentialFinal."""
        self._refuse_when_final()
        if policy_ext_id != self.policy_ext_id:
            self.trigger_event(self.TicketPolicyAssigned, policy_ext_id=policy_ext_id, **vars(by))

    def change_validity(self, validity: Validity, *, by: Attribution) -> None:
        """Let the ticket be valid from and until other times. Raises CredentialFinal."""
        self._refuse_when_final()
        if validity != self.validity:
            self.trigger_event(
                self.TicketValidityChanged, valid_from=validity.start, valid_to=validity.end, **vars(by)
            )

    def remark(self, *, by: Attribution) -> None:
        """Write another comment. Raises CredentialFinal."""
        self._refuse_when_final()
        if by.reason != self.comment:
            self.trigger_event(self.TicketCommented, **vars(by))

    def judge(self, policy: TicketPolicy, now: datetime) -> Verdict | None:
        """Return why no ticket at all would verify now; None where the right one would."""
        state = self.state_at(now)
        for verdict, holds in (
            (Verdict.DISABLED, state in (State.DISABLED, State.ARCHIVED)),
            (Verdict.LOCKED, state not in states.VERIFY.sources or state is State.TMP_LOCKED),
            (Verdict.NOT_YET_VALID, now < self.validity.start),
            (Verdict.EXPIRED, now >= self.validity.end),
            (Verdict.USED, self.successes > 0 and not policy.reusable),
        ):
            if holds:
                return verdict
        return None

    def verify(self, policy: TicketPolicy, *, matches: bool, by: Attribution) -> Verdict | None:
        """Count a ticket that was presented, and return why it is not verified; None where it is.

        Only a wrong ticket counts. A refusal for any other reason triggers nothing, so nobody can grow the
        history of a locked credential.
        """
        verdict = self.judge(policy, by.timestamp)
        if verdict is not None:
            return verdict
        if matches:
            self.trigger_event(self.TicketVerified, **vars(by))
            return None
        state, locked_until = self._after_a_miss(policy, by.timestamp)
        self.trigger_event(self.WrongTicketPresented, state_name=state, locked_until=locked_until, **vars(by))
        return Verdict.WRONG_TICKET

    def upgrade_hash(self, ticket_hash: str, *, by: Attribution) -> None:
        """Keep the same ticket under another hash."""
        self.trigger_event(self.TicketHashUpgraded, ticket_hash=ticket_hash, **vars(by))

    def note_expiry(self, policy: TicketPolicy, *, by: Attribution) -> None:
        """Say that the ticket ends soon, or has ended; each once per ticket, and of a live credential only."""
        now, end = by.timestamp, self.validity.end
        if self.expiry_recorded or self.state in (State.DISABLED, State.ARCHIVED):
            return
        if now >= end:
            self.trigger_event(self.TicketExpired, valid_to=end, **vars(by))
        elif not self.expiry_warned and self.expiry_warning(policy) <= now:
            self.trigger_event(self.TicketExpirySoon, valid_to=end, **vars(by))

    def expiry_warning(self, policy: TicketPolicy) -> datetime:
        """Return when it is time to say that the ticket ends soon; its end where the policy says never."""
        days = policy.close_to_expiration_threshold
        return self.validity.end if days == OFF else self.validity.end - timedelta(days=days)

    def delete(self, *, by: Attribution) -> None:
        """Remove the credential; its history stays."""
        self.trigger_event(self.TicketDeleted, **vars(by))

    def state_at(self, now: datetime) -> State:
        """Return the state at a moment: a temporary lock ends by itself."""
        return state_at(self.state, self.locked_until, now)

    def take_ticket(self, ticket_hash: str, validity: Validity) -> None:
        """Assign a ticket that was just made. For `apply`."""
        self.ticket_hash = ticket_hash
        self.validity = validity
        self.locked_until = None
        self.successes = self.misses = 0
        self.expiry_warned = self.expiry_recorded = False

    def _after_a_miss(self, policy: TicketPolicy, now: datetime) -> tuple[State, datetime | None]:
        misses = self.misses + 1
        if policy.max_cred_failure_count != OFF and misses >= policy.max_cred_failure_count:
            return State.FAIL_LOCKED, None
        if policy.tmp_locking_threshold != OFF and misses >= policy.tmp_locking_threshold:
            return State.TMP_LOCKED, now + policy.lock_duration
        return State.ACTIVE, None

    def _refuse_when_final(self) -> None:
        if self.state is State.ARCHIVED:
            raise CredentialFinal("The ticket is archived, which is final. It can only be deleted.")

    @classmethod
    def restore(cls, stream: UUID, version: int, timestamp: datetime, **state: Any) -> Self:
        """Rebuild the aggregate as it stood at a version, without its history.

        A command then costs the same at any length of the stream; that this equals a full replay is a
        property test (tests/application/record/test_replay_equals_live.py).
        """
        aggregate = cls.__new__(cls)
        aggregate.__base_init__(stream, version, timestamp)
        vars(aggregate).update(state)
        return aggregate


def state_at(state: State, locked_until: datetime | None, now: datetime) -> State:
    """Return what a stored state is at a moment: a temporary lock ends by itself."""
    ran_out = state is State.TMP_LOCKED and locked_until is not None and now >= locked_until
    return State.ACTIVE if ran_out else state
