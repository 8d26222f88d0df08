"""Refusals: facts of the domain. interface/http/core/problems.py maps their kinds to HTTP."""

from enum import Enum, auto
from typing import ClassVar


class Kind(Enum):
    """What kind of refusal it is."""

    INVALID = auto()
    NOT_FOUND = auto()
    STALE_VERSION = auto()
    PRECONDITION = auto()
    POLICY = auto()
    TICKET_EXISTS = auto()
    KEY_REUSED = auto()


class Refusal(Exception):
    """A command that must not happen, and changes nothing. The message is written for the caller.

    A refusal for several faults has a line for each. CODE: under which the refusal is stored as the answer to a command; it
    never changes, whatever the class is called later.
    """

    CODE: ClassVar[str]
    KIND: ClassVar[Kind] = Kind.POLICY

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.CODE in REFUSALS:
            raise TypeError(f"two refusals have the code {cls.CODE}")
        REFUSALS[cls.CODE] = cls


REFUSALS: dict[str, type[Refusal]] = {}
"""Every refusal by its code."""


class CredentialDisabled(Refusal):
    """A disabled credential is not revived by a reset."""

    CODE = "CredentialDisabled"


class CredentialArchived(Refusal):
    """An archived credential is not revived by a reset."""

    CODE = "CredentialArchived"


class CredentialFinal(Refusal):
    """An archived credential does not change any more; it can only be deleted."""

    CODE = "CredentialFinal"


class InvalidValidity(Refusal):
    """A validity that ends before it begins, or beyond the calendar."""

    CODE = "ValidityImpossible"
    KIND = Kind.INVALID


class InvalidPolicy(Refusal):
    """A policy that breaks a rule; one message per fault."""

    CODE = "PolicyFaulty"

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
