"""What a command that happened came to, by the codes under which an answer is stored; they never change."""

from enum import StrEnum


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
