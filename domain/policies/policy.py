"""A ticket policy: its parameters for minting, locking and delivery, and the rules that bound them."""

import math
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from domain.shared.errors import Refusal

# The 57 letters and digits that are not easily confused in print: no 0 O 1 l I (docs/http-contract.md).
UNAMBIGUOUS_CHARACTERS = "23456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
OFF = -1
TICKET_GROUP_SIZE = 4

# NIST SP 800-63B: a look-up secret has at least 20 bits; below 112 it is stored by a password hash (ASVS 6.5.2).
MIN_BITS = 20
FAST_HASH_BITS = 112
# NIST SP 800-63B-4: at most 100 consecutive failures.
MAX_FAILURES = 100
MIN_LOCK_MS = 1_000
MAX_DAILY_DELIVERIES = 10_000
MAX_LENGTH = 200
MAX_LIFETIME_MS = 100 * 366 * 86_400_000


class InvalidPolicy(Refusal):
    """A policy breaks at least one rule; the message has one line per fault."""

    CODE = "PolicyFaulty"

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))


class HashAlgorithm(StrEnum):
    """The hash algorithms for new tickets. Imported `SSHA` hashes are verified but never created."""

    SSHA256 = "SSHA256"
    ARGON2ID = "ARGON2ID"


class WeakHash(StrEnum):
    """The fast hashes of imported tickets that a policy can admit."""

    SSHA = "SSHA"
    SSHA256 = "SSHA256"


class SendingMethod(StrEnum):
    """The delivery methods."""

    EMAIL = "Email"
    HTML_EMAIL = "HTMLemail"
    PDF_EMAIL = "PDFemail"
    PDF_STORE = "PDFstore"
    WEBHOOK = "Webhook"
    NONE = "None"

    @property
    def address(self) -> str | None:
        """The field of the recipient to which the method sends; None: unknown to this service."""
        return _ADDRESSES.get(self)


_ADDRESSES = {
    SendingMethod.EMAIL: "email",
    SendingMethod.HTML_EMAIL: "email",
    SendingMethod.PDF_EMAIL: "email",
    SendingMethod.PDF_STORE: "postal_address",
}


@dataclass(frozen=True, kw_only=True)
class TicketPolicy:
    """The parameters of a policy, under the contract's names in snake case; requests and responses are derived from it.

    The defaults are the built-in policy. The metadata describes a parameter for callers.
    """

    ticket_length: int = field(default=24, metadata={"description": "Characters of a ticket."})
    ticket_character_set: str = field(
        default=UNAMBIGUOUS_CHARACTERS, metadata={"description": "The characters of a ticket, each once."}
    )
    ticket_case_insensitive: bool = field(
        default=False,
        metadata={
            "description": "Whether a ticket is accepted in upper and lower case; the set has each letter once."
        },
    )
    ticket_group_size: int = field(
        default=TICKET_GROUP_SIZE,
        metadata={
            "description": "Characters of a group, between which mails and letters print a blank; -1: no groups."
        },
    )
    hash_algorithm: HashAlgorithm = field(
        default=HashAlgorithm.SSHA256, metadata={"description": "For new tickets."}
    )
    credential_lifetime: int = field(
        default=432_000_000, metadata={"description": "Validity of a new ticket, in milliseconds."}
    )
    max_cred_failure_count: int = field(
        default=3, metadata={"description": "Wrong tickets in a row until the permanent lock; -1: 100."}
    )
    tmp_locking_threshold: int = field(
        default=2, metadata={"description": "Wrong tickets in a row until a temporary lock; -1: off."}
    )
    tmp_locking_duration: int = field(
        default=60_000, metadata={"description": "Duration of a temporary lock, in milliseconds."}
    )
    reusable: bool = field(
        default=False, metadata={"description": "Whether a ticket is accepted more than once."}
    )
    sending_method: tuple[SendingMethod, ...] = field(
        default=(SendingMethod.EMAIL,),
        metadata={"description": "In order; the next method is tried if one fails."},
    )
    close_to_expiration_threshold: int = field(
        default=10,
        metadata={
            "description": "Days before the end of the validity at which `TicketExpirySoon` is recorded; -1: off."
        },
    )
    max_daily_delivery_count: int | None = field(
        default=None,
        metadata={
            "description": "Tickets of a user per UTC day, by creations and resets; -1: off; null: as"
            " the service is set, by default 20."
        },
    )

    admitted_hashes: tuple[WeakHash, ...] = field(
        default=(),
        metadata={
            "description": "Hashes that an import keeps until the end of the ticket, although this policy requires a stronger"
            " one; others are wrapped by ARGON2ID."
        },
    )

    @property
    def lifetime(self) -> timedelta:
        """The validity period of a ticket."""
        return timedelta(milliseconds=self.credential_lifetime)

    @property
    def lock_duration(self) -> timedelta:
        """The duration of a temporary lock."""
        return timedelta(milliseconds=self.tmp_locking_duration)

    @property
    def entropy_bits(self) -> float:
        """The entropy of a ticket minted under this policy."""
        return self.ticket_length * math.log2(max(1, len(set(self.ticket_character_set))))

    def check(self) -> None:
        """Raise InvalidPolicy with one message per fault if a rule is broken."""
        faults = [message for fault, message in self._faults() if fault]
        if faults:
            raise InvalidPolicy(*faults)

    def _faults(self) -> list[tuple[bool, str]]:
        characters, bits = self.ticket_character_set, self.entropy_bits
        slow = self.hash_algorithm is HashAlgorithm.ARGON2ID
        return [
            (not 1 <= self.ticket_length <= MAX_LENGTH, f"ticketLength must be 1 to {MAX_LENGTH}"),
            (
                len(set(characters)) != len(characters),
                "ticketCharacterSet must not contain a character twice",
            ),
            (
                self.ticket_case_insensitive and len(set(characters.lower())) != len(set(characters)),
                "ticketCharacterSet must not contain a letter in both cases if ticketCaseInsensitive is true",
            ),
            (
                not all(" " < character <= "~" for character in characters),
                "ticketCharacterSet must be printable ASCII without blanks",
            ),
            (
                self.ticket_group_size != OFF and not 1 <= self.ticket_group_size <= MAX_LENGTH,
                f"ticketGroupSize must be -1 (off) or 1 to {MAX_LENGTH}",
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
                not MIN_LOCK_MS <= self.tmp_locking_duration <= MAX_LIFETIME_MS,
                f"tmpLockingDuration must be {MIN_LOCK_MS} ms to 100 years: a shorter lock does not slow guessing",
            ),
            (
                self.max_cred_failure_count == OFF == self.tmp_locking_threshold,
                f"maxCredFailureCount and tmpLockingThreshold must not both be -1: a lock is needed within {MAX_FAILURES} wrong tickets (NIST SP 800-63B-4)",
            ),
            (
                self.close_to_expiration_threshold != OFF
                and not 0 <= self.close_to_expiration_threshold <= 36_600,  # noqa: PLR2004
                "closeToExpirationThreshold must be -1 (off) or 0 to 36600 days",
            ),
            (
                self.max_daily_delivery_count is not None
                and self.max_daily_delivery_count != OFF
                and not 1 <= self.max_daily_delivery_count <= MAX_DAILY_DELIVERIES,
                f"maxDailyDeliveryCount must be null, -1 (off) or 1 to {MAX_DAILY_DELIVERIES}",
            ),
            (
                not self.sending_method or len(set(self.sending_method)) != len(self.sending_method),
                "sendingMethod must list at least one method, without duplicates",
            ),
            (
                len(set(self.admitted_hashes)) != len(self.admitted_hashes),
                "admittedHashes must not list a hash twice",
            ),
        ]


DEFAULT_POLICY_ID = "default"
DEFAULT_POLICY = TicketPolicy()
