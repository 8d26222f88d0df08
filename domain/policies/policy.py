"""How tickets are made, locked and let go: the policy, its rules, and the events of its definition."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self
from uuid import UUID, uuid5

from eventsourcing.domain import BaseAggregate, CanInitAggregate

from domain.shared.attribution import Attribution
from domain.shared.errors import PolicyFaulty
from domain.shared.event import Event as _Event

# The 57 letters and digits that nobody confuses when reading a letter: no 0 O 1 l I (contract.md).
UNAMBIGUOUS_CHARACTERS = "23456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
OFF = -1
_STREAMS = UUID("0e5a4c0e-8a55-5c0b-9a3c-7d0b8f3f4b11")

# NIST SP 800-63B: a look-up secret has at least 20 bits; below 112 it is stored by a password hash (ASVS 6.5.2).
MIN_BITS = 20
FAST_HASH_BITS = 112
# NIST SP 800-63B: at most 100 consecutive failures.
MAX_FAILURES = 100
MAX_LENGTH = 200
MAX_LIFETIME_MS = 100 * 366 * 86_400_000


class HashAlgorithm(StrEnum):
    """How a ticket is hashed; `SSHA` is verified where it was imported, and never made."""

    SSHA256 = "SSHA256"
    ARGON2ID = "ARGON2ID"


class SendingMethod(StrEnum):
    """How a ticket is sent to its user."""

    EMAIL = "Email"
    HTML_EMAIL = "HTMLemail"
    PDF_EMAIL = "PDFemail"
    PDF_STORE = "PDFstore"
    WEBHOOK = "Webhook"
    NONE = "None"


@dataclass(frozen=True, kw_only=True)
class TicketPolicy:
    """The parameters of a policy, under the contract's names. They hold from the next time they are applied.

    The defaults are the built-in policy. Times are in milliseconds but for close_to_expiration_threshold, which
    is in days; -1 switches a threshold off. sending_method is an ordered list of fallbacks.
    """

    ticket_length: int = 24
    ticket_character_set: str = UNAMBIGUOUS_CHARACTERS
    hash_algorithm: HashAlgorithm = HashAlgorithm.SSHA256
    credential_lifetime: int = 432_000_000
    max_cred_failure_count: int = 3
    tmp_locking_threshold: int = 2
    tmp_locking_duration: int = 60_000
    reusable: bool = False
    sending_method: tuple[SendingMethod, ...] = (SendingMethod.EMAIL,)
    close_to_expiration_threshold: int = 10

    @property
    def lifetime(self) -> timedelta:
        """How long a ticket is valid."""
        return timedelta(milliseconds=self.credential_lifetime)

    @property
    def lock_duration(self) -> timedelta:
        """How long a temporary lock lasts."""
        return timedelta(milliseconds=self.tmp_locking_duration)

    @property
    def entropy_bits(self) -> float:
        """How many bits a ticket by this policy is worth."""
        return self.ticket_length * math.log2(max(1, len(set(self.ticket_character_set))))

    def check(self) -> None:
        """Raise PolicyFaulty with one message per fault."""
        faults = [message for fault, message in self._faults() if fault]
        if faults:
            raise PolicyFaulty(*faults)

    def _faults(self) -> list[tuple[bool, str]]:
        characters, bits = self.ticket_character_set, self.entropy_bits
        slow = self.hash_algorithm is HashAlgorithm.ARGON2ID
        return [
            (not 1 <= self.ticket_length <= MAX_LENGTH, f"ticketLength must be 1 to {MAX_LENGTH}"),
            (len(set(characters)) != len(characters), "ticketCharacterSet names a character twice"),
            (
                not all(" " < character <= "~" for character in characters),
                "ticketCharacterSet must be printable ASCII without blanks",
            ),
            (
                bits < MIN_BITS,
                f"a ticket would have {bits:.0f} bits; at least {MIN_BITS} are needed (NIST SP 800-63B, look-up secrets)",
            ),
            (
                MIN_BITS <= bits < FAST_HASH_BITS and not slow,
                f"a ticket would have {bits:.0f} bits; below {FAST_HASH_BITS} hashAlgorithm must be ARGON2ID (ASVS 6.5.2)",
            ),
            (
                not 1 <= self.credential_lifetime <= MAX_LIFETIME_MS,
                "credentialLifetime must be 1 ms to 100 years",
            ),
            (
                self.max_cred_failure_count != OFF and not 1 <= self.max_cred_failure_count <= MAX_FAILURES,
                f"maxCredFailureCount must be -1 (off) or 1 to {MAX_FAILURES} (NIST SP 800-63B)",
            ),
            (
                self.tmp_locking_threshold != OFF and not 1 <= self.tmp_locking_threshold <= MAX_FAILURES,
                f"tmpLockingThreshold must be -1 (off) or 1 to {MAX_FAILURES}",
            ),
            (
                not 1 <= self.tmp_locking_duration <= MAX_LIFETIME_MS,
                "tmpLockingDuration must be 1 ms to 100 years",
            ),
            (
                self.max_cred_failure_count == OFF == self.tmp_locking_threshold,
                "maxCredFailureCount and tmpLockingThreshold cannot both be off: somebody could guess without end",
            ),
            (
                self.close_to_expiration_threshold != OFF
                and not 0 <= self.close_to_expiration_threshold <= 36_600,  # noqa: PLR2004
                "closeToExpirationThreshold must be -1 (off) or 0 to 36600 days",
            ),
            (
                not self.sending_method or len(set(self.sending_method)) != len(self.sending_method),
                "sendingMethod must name at least one method, and none twice",
            ),
        ]


DEFAULT_POLICY_ID = "default"
DEFAULT_POLICY = TicketPolicy()


def policy_stream_id(client_ext_id: str, policy_ext_id: str) -> UUID:
    """Return the id of the one stream of this policy."""
    return uuid5(_STREAMS, f"{client_ext_id}\x1f{policy_ext_id}")


class PolicyDefinition(BaseAggregate[UUID]):
    """A policy of a client and every version of it there ever was."""

    TOPIC = "PolicyDefinition"

    def __init__(self) -> None:
        self.client_ext_id: str
        self.policy_ext_id: str
        self.policy: TicketPolicy
        self.is_default: bool

    # The same rule as for the events of a credential: stored shapes only grow.

    @dataclass(frozen=True, kw_only=True)
    class Event(_Event):
        """Something that happened to a policy."""

    @dataclass(frozen=True, kw_only=True)
    class PolicyDefined(Event, CanInitAggregate[UUID]):
        """These are the parameters from now on, all of them; the first of these begins the stream."""

        TOPIC = "PolicyDefined"
        originator_topic: str
        client_ext_id: str
        policy_ext_id: str
        is_default: bool
        parameters: TicketPolicy

        def mutate(self, aggregate: Any) -> Any:
            """Begin or go on."""
            return super().mutate(None) if aggregate is None else _Event.mutate(self, aggregate)

        def apply(self, aggregate: "PolicyDefinition") -> None:
            """Evolve."""
            aggregate.client_ext_id = self.client_ext_id
            aggregate.policy_ext_id = self.policy_ext_id
            aggregate.is_default = self.is_default
            aggregate.policy = self.parameters

    @dataclass(frozen=True, kw_only=True)
    class PolicyDefaultWithdrawn(Event):
        """Another policy is the client's default from now on."""

        TOPIC = "PolicyDefaultWithdrawn"

        def apply(self, aggregate: "PolicyDefinition") -> None:
            """Evolve."""
            aggregate.is_default = False

    @classmethod
    def define(
        cls,
        client_ext_id: str,
        policy_ext_id: str,
        policy: TicketPolicy,
        *,
        is_default: bool,
        by: Attribution,
    ) -> Self:
        """Begin a policy. Raises PolicyFaulty."""
        policy.check()
        return cls._create(
            cls.PolicyDefined,
            id=policy_stream_id(client_ext_id, policy_ext_id),
            client_ext_id=client_ext_id,
            policy_ext_id=policy_ext_id,
            is_default=is_default,
            parameters=policy,
            **vars(by),
        )

    def redefine(self, policy: TicketPolicy, *, is_default: bool, by: Attribution) -> None:
        """Replace all parameters; the same again triggers nothing. Raises PolicyFaulty."""
        policy.check()
        if (policy, is_default) == (self.policy, self.is_default):
            return
        self.trigger_event(
            self.PolicyDefined,
            originator_topic=self.TOPIC,
            client_ext_id=self.client_ext_id,
            policy_ext_id=self.policy_ext_id,
            is_default=is_default,
            parameters=policy,
            **vars(by),
        )

    def withdraw_default(self, *, by: Attribution) -> None:
        """Stop being the client's default, if it is."""
        if self.is_default:
            self.trigger_event(self.PolicyDefaultWithdrawn, **vars(by))

    @classmethod
    def restore(
        cls,
        *,
        client_ext_id: str,
        policy_ext_id: str,
        version: int,
        policy: TicketPolicy,
        is_default: bool,
        timestamp: datetime,
    ) -> Self:
        """Rebuild the aggregate as it stood at a version, without its history."""
        aggregate = cls.__new__(cls)
        aggregate.__base_init__(policy_stream_id(client_ext_id, policy_ext_id), version, timestamp)
        aggregate.client_ext_id, aggregate.policy_ext_id = client_ext_id, policy_ext_id
        aggregate.policy, aggregate.is_default = policy, is_default
        return aggregate
