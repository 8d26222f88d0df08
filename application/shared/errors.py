"""Refusals that depend on more than one aggregate, and technical failures."""

from domain.shared.errors import Kind, Refusal


class UserNotFound(Refusal):
    """The client has no such user."""

    CODE = "UserUnknown"
    KIND = Kind.NOT_FOUND


class TicketNotFound(Refusal):
    """The user has no ticket."""

    CODE = "TicketUnknown"
    KIND = Kind.NOT_FOUND


class TicketExists(Refusal):
    """The user already has a ticket; there is one per user and client."""

    CODE = "TicketExists"
    KIND = Kind.TICKET_EXISTS


class UnknownPolicy(Refusal):
    """A command names a policy that the client does not have."""

    CODE = "PolicyUnknown"


class PolicyNotFound(Refusal):
    """The requested policy does not exist."""

    CODE = "PolicyNotFound"
    KIND = Kind.NOT_FOUND


class PositionNotFound(Refusal):
    """The position is not in the client's ledger."""

    CODE = "PositionUnknown"
    KIND = Kind.NOT_FOUND


class SubscriptionNotFound(Refusal):
    """The client has no such subscription."""

    CODE = "SubscriptionUnknown"
    KIND = Kind.NOT_FOUND


class TooManySubscriptions(Refusal):
    """The client has reached the maximum number of subscriptions."""

    CODE = "TooManySubscriptions"


class TargetRefused(Refusal):
    """The URL of a subscription is not allowed."""

    CODE = "TargetRefused"


class StaleVersion(Refusal):
    """The version in the request body is not the current version."""

    CODE = "StaleVersion"
    KIND = Kind.STALE_VERSION


class PreconditionFailed(Refusal):
    """If-Match or If-None-Match is not satisfied (RFC 9110, section 13)."""

    CODE = "PreconditionFailed"
    KIND = Kind.PRECONDITION


class IdempotencyKeyReused(Refusal):
    """The caller has already used the key with another request."""

    CODE = "IdempotencyKeyReused"
    KIND = Kind.KEY_REUSED


class Conflict(Exception):
    """Another process changed the loaded rows before the commit; the commands must be decided again."""


class Unavailable(Exception):
    """A temporary failure; the caller may retry.

    It may be unknown whether a failed write was stored; a retry with the same Idempotency-Key resolves this.
    """

    retry_after_seconds = 1


class StoreUnavailable(Unavailable):
    """The store is unreachable, locked for too long, or cannot write."""


class LaterRelease(Unavailable):
    """The record contains data that only a later release can read; a process of that release can answer."""


class KeyMissing(Unavailable):
    """A signing key is missing."""


class Overloaded(Unavailable):
    """The command queue is full."""


class SealBroken(Exception):
    """A sealed secret cannot be opened: it was sealed with another key, or its row was changed or moved."""
