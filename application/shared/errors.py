"""Refusals that need more than one aggregate to see, and failures of the machinery."""

from domain.shared.errors import Kind, Refusal


class UserNotFound(Refusal):
    """No such user in this client."""

    CODE = "UserUnknown"
    KIND = Kind.NOT_FOUND


class TicketNotFound(Refusal):
    """The user has no ticket."""

    CODE = "TicketUnknown"
    KIND = Kind.NOT_FOUND


class TicketExists(Refusal):
    """The user has a ticket already; there is one per user and client."""

    CODE = "TicketExists"
    KIND = Kind.TICKET_EXISTS


class UnknownPolicy(Refusal):
    """The policy that a command names does not exist in this client."""

    CODE = "PolicyUnknown"


class PolicyNotFound(Refusal):
    """The policy that is to be read does not exist."""

    CODE = "PolicyNotFound"
    KIND = Kind.NOT_FOUND


class PositionNotFound(Refusal):
    """The client's ledger does not reach that far."""

    CODE = "PositionUnknown"
    KIND = Kind.NOT_FOUND


class SubscriptionNotFound(Refusal):
    """The client has no such subscription."""

    CODE = "SubscriptionUnknown"
    KIND = Kind.NOT_FOUND


class TooManySubscriptions(Refusal):
    """The client has as many subscriptions as it may have."""

    CODE = "TooManySubscriptions"


class TargetRefused(Refusal):
    """Nothing is sent to such a URL."""

    CODE = "TargetRefused"


class StaleVersion(Refusal):
    """The version in the body is not the current one."""

    CODE = "StaleVersion"
    KIND = Kind.STALE_VERSION


class PreconditionFailed(Refusal):
    """If-Match or If-None-Match does not hold (RFC 9110, section 13)."""

    CODE = "PreconditionFailed"
    KIND = Kind.PRECONDITION


class IdempotencyKeyReused(Refusal):
    """The key was used before, by the same caller, with another request."""

    CODE = "IdempotencyKeyReused"
    KIND = Kind.KEY_REUSED


class Conflict(Exception):
    """Another process changed the rows on which this transaction was decided; decide again."""


class Unavailable(Exception):
    """The service cannot do this now; the caller may retry.

    Whether a write that fails so has happened may be unknown: a retry with the same Idempotency-Key finds out.
    """

    retry_after_seconds = 1


class StoreUnavailable(Unavailable):
    """The store is out of reach, locked for too long, or cannot write."""


class LaterRelease(Unavailable):
    """The record holds what only a later release can read; a process of that release can answer."""


class KeyMissing(Unavailable):
    """A key that signs is missing."""


class Overloaded(Unavailable):
    """More commands are queued than the service allows."""


class SealBroken(Exception):
    """A sealed secret that no key opens: another key sealed it, or its row was changed or moved."""
