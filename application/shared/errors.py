"""Refusals that need more than one credential to see, and the failures of the machinery around it."""

from domain.shared.errors import Refusal


class UserUnknown(Refusal):
    """No such user in this client."""


class TicketUnknown(Refusal):
    """The user has no ticket."""


class TicketExists(Refusal):
    """The user has a ticket already; there is one per user and client."""


class PolicyUnknown(Refusal):
    """No such policy in this client."""


class PolicyNotFound(Refusal):
    """The policy that is asked for is not there."""


class PositionUnknown(Refusal):
    """The client's ledger does not reach that far."""


class SubscriptionUnknown(Refusal):
    """The client has no such subscription."""


class TooManySubscriptions(Refusal):
    """The client has as many subscriptions as it may have."""


class TargetRefused(Refusal):
    """Nothing is sent to such a URL."""


class StaleVersion(Refusal):
    """The version in the body is not the current one."""


class PreconditionFailed(Refusal):
    """If-Match or If-None-Match does not hold (RFC 9110, section 13)."""


class IdempotencyKeyReused(Refusal):
    """The key came before, from the same caller, with another request."""


class Conflict(Exception):
    """Another process changed what this transaction was decided on; decide again."""


class Unavailable(Exception):
    """The service cannot take this now, and says when to come again.

    Whether a write that fails so has happened may be unknown: a retry with the same Idempotency-Key finds out.
    """

    retry_after_seconds = 1


class StoreUnavailable(Unavailable):
    """The store is out of reach, locked for too long, or cannot write."""


class LaterRelease(Unavailable):
    """The record holds what only a later release can read; a process of that release can answer."""


class KeyMissing(Unavailable):
    """A key that signs is not where it should be."""


class Overloaded(Unavailable):
    """More commands wait than the service lets wait."""


class SealBroken(Exception):
    """A sealed secret that this key does not open: another key, or a row that was changed or moved."""
