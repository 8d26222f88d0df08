"""The aggregate: one ticket credential per user and client, and everything that ever happened to it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID, uuid5

from eventsourcing.domain import BaseAggregate, CanInitAggregate, CanMutateAggregate

from domain.attribution import Attribution
from domain.errors import CredentialArchived, CredentialDisabled, ValidityImpossible
from domain.policy import TicketPolicy

_STREAMS = UUID("6f5fd1b7-2f0b-5a52-8c1e-5d3b1d1f3a60")


class State(StrEnum):
    """The eight states of the seed, spelt as there."""

    INITIAL = "initial"
    ACTIVE = "active"
    TMP_LOCKED = "tmp-locked"
    FAIL_LOCKED = "fail-locked"
    RESET_CODE = "reset-code"
    ADMIN_CHANGED = "admin-changed"
    DISABLED = "disabled"
    ARCHIVED = "archived"


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
            return cls(start, start + policy.credential_lifetime)
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

    Each public method checks, then triggers exactly one event. `apply` only assigns and cannot fail.
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
        self.ticket_hash: str
        self.validity: Validity
        self.reset_count: int

    # Stored shapes only grow: by fields with a default, or by new events. No field, topic or meaning of one
    # that was ever released changes; tests/domain/golden_events.jsonl holds the stored bytes of each.

    @dataclass(frozen=True, kw_only=True)
    class Event(CanMutateAggregate[UUID]):
        """What every event carries; see Attribution for the last six fields."""

        originator_id: UUID
        originator_version: int
        timestamp: datetime
        actor: str
        reason: str | None
        correlation_id: str
        command_id: str
        request_digest: str

    @dataclass(frozen=True, kw_only=True)
    class TicketCreated(Event, CanInitAggregate[UUID]):
        """The credential exists from now on, with its first ticket."""

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

        def apply(self, aggregate: "TicketCredential") -> None:
            """Evolve."""
            aggregate.client_ext_id = self.client_ext_id
            aggregate.user_ext_id = self.user_ext_id
            aggregate.ext_id = self.ext_id
            aggregate.policy_ext_id = self.policy_ext_id
            aggregate.state = self.state_name
            aggregate.ticket_hash = self.ticket_hash
            aggregate.validity = Validity(self.valid_from, self.valid_to)
            aggregate.reset_count = 0

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
            aggregate.ticket_hash = self.ticket_hash
            aggregate.reset_count = self.reset_count
            aggregate.validity = Validity(self.valid_from, self.valid_to)
            aggregate.state = State.ACTIVE

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

    def regenerate(self, ticket_hash: str, validity: Validity, *, by: Attribution) -> None:
        """Replace the ticket by a new one: the old stops verifying, a lock is lifted, the count rises by one.

        Raises CredentialDisabled or CredentialArchived: a reset revives neither (contract.md).
        """
        if self.state is State.DISABLED:
            raise CredentialDisabled("The ticket is disabled. Activate it before you reset it.")
        if self.state is State.ARCHIVED:
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

    @classmethod
    def restore(cls, stream: UUID, version: int, timestamp: datetime, **state: Any) -> Self:
        """Rebuild the aggregate as it stood at a version, without its history.

        A command then costs the same at any length of the stream; that this equals a full replay is a
        property test (tests/application/test_replay_equals_live.py).
        """
        aggregate = cls.__new__(cls)
        aggregate.__base_init__(stream, version, timestamp)
        vars(aggregate).update(state)
        return aggregate
