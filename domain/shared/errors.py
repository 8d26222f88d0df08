"""Refusals: facts of the domain. What each becomes in HTTP stands in interface/http/core/problems.py, once."""


class Refusal(Exception):
    """A command that must not happen, and changes nothing. The message is written for the caller.

    A refusal for several faults has a line for each.
    """


class CredentialDisabled(Refusal):
    """A disabled credential is not revived by a reset."""


class CredentialArchived(Refusal):
    """An archived credential is not revived by a reset."""


class ValidityImpossible(Refusal):
    """A validity that ends before it begins, or beyond the calendar."""


class CredentialFinal(Refusal):
    """An archived credential changes no more; it can only be deleted."""


class PolicyFaulty(Refusal):
    """A policy that breaks a rule; one message per fault."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
