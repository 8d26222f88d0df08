"""What a command can come to, by the codes under which an answer is stored.

A stored code never changes, whatever the class is called by then. The codes of the refusals are the names that their
classes had first: answers of earlier releases have them, and a release that runs beside this one must know them.
"""

from enum import StrEnum

from application.shared import errors as application
from domain.shared import errors as domain


class Outcome(StrEnum):
    """What a command that happened came to."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    DELETED = "deleted"
    ERASED = "erased"
    VERIFIED = "verified"
    LOCKED = "locked"
    QUEUED = "queued"
    RECORDED = "recorded"
    GONE = "gone"
    NOTED = "noted"
    SOON = "soon"
    ENDED = "ended"


REFUSALS: dict[str, type[domain.Refusal]] = {
    "CredentialDisabled": domain.CredentialDisabled,
    "CredentialArchived": domain.CredentialArchived,
    "CredentialFinal": domain.CredentialFinal,
    "ValidityImpossible": domain.ValidityImpossible,
    "PolicyFaulty": domain.PolicyFaulty,
    "UserUnknown": application.UserUnknown,
    "TicketUnknown": application.TicketUnknown,
    "TicketExists": application.TicketExists,
    "PolicyUnknown": application.PolicyUnknown,
    "PolicyNotFound": application.PolicyNotFound,
    "PositionUnknown": application.PositionUnknown,
    "SubscriptionUnknown": application.SubscriptionUnknown,
    "TooManySubscriptions": application.TooManySubscriptions,
    "TargetRefused": application.TargetRefused,
    "StaleVersion": application.StaleVersion,
    "PreconditionFailed": application.PreconditionFailed,
    "IdempotencyKeyReused": application.IdempotencyKeyReused,
}
CODES = {refusal: code for code, refusal in REFUSALS.items()}
