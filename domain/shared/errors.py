"""The base class of refusals. interface/http/core/problems.py maps their kinds to HTTP; each is declared in its room."""

from datetime import datetime
from enum import Enum, auto
from typing import ClassVar


class Kind(Enum):
    """The kinds of refusals."""

    INVALID = auto()
    NOT_FOUND = auto()
    STALE_VERSION = auto()
    PRECONDITION = auto()
    POLICY = auto()
    TICKET_EXISTS = auto()
    KEY_REUSED = auto()
    LIMIT = auto()
    CONFLICT = auto()


class Refusal(Exception):
    """A command was rejected and changed nothing. The message is for the caller, with one line per fault.

    CODE: the stored name of the refusal, which never changes, even if the class is renamed.
    """

    CODE: ClassVar[str]
    KIND: ClassVar[Kind] = Kind.POLICY

    @property
    def retry_from(self) -> datetime | None:
        """The time from which the command can succeed; None: unknown."""
        return None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.CODE in REFUSALS:
            raise TypeError(f"duplicate refusal code {cls.CODE}")
        REFUSALS[cls.CODE] = cls


REFUSALS: dict[str, type[Refusal]] = {}
"""Every refusal by its code."""
