"""Refusals: facts of the domain. What each becomes in HTTP stands in interface/http/problems.py, once."""


class Refusal(Exception):
    """A command that must not happen, and changes nothing. The message is written for the caller."""


class CredentialDisabled(Refusal):
    """A disabled credential is not revived by a reset."""


class CredentialArchived(Refusal):
    """An archived credential is not revived by a reset."""


class ValidityImpossible(Refusal):
    """A validity that ends before it begins, or beyond the calendar."""
