"""The outcomes of successful commands; their values are stored and never change."""

from enum import StrEnum


class Outcome(StrEnum):
    """The outcome of a successful command."""

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
