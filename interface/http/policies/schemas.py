"""Request bodies of the policy routes."""

from typing import Annotated

from fastapi import Path
from pydantic import BeforeValidator, Field

from application.shared.fields import Comment
from domain.policies.policy import DEFAULT_POLICY, HashAlgorithm, SendingMethod, TicketPolicy
from interface.http.core.path import ID_SCHEMA
from interface.http.core.schemas import StrictBody, integral

PolicyExtId = Annotated[
    str, Path(description="External ID of the policy.", examples=["letters"], json_schema_extra=ID_SCHEMA)
]


# A signed 64-bit number, as every store keeps it; the rules of the policy are narrower, and have separate messages.
_Int = Annotated[int, Field(ge=-(2**63), lt=2**63, strict=True), BeforeValidator(integral)]


class ParametersBody(StrictBody):
    """The parameters of a policy; omitted ones default to the built-in policy."""

    ticketLength: _Int = DEFAULT_POLICY.ticket_length
    ticketCharacterSet: str = DEFAULT_POLICY.ticket_character_set
    hashAlgorithm: HashAlgorithm = DEFAULT_POLICY.hash_algorithm
    credentialLifetime: Annotated[_Int, Field(description="Milliseconds.")] = (
        DEFAULT_POLICY.credential_lifetime
    )
    maxCredFailureCount: Annotated[_Int, Field(description="-1: off.")] = (
        DEFAULT_POLICY.max_cred_failure_count
    )
    tmpLockingThreshold: Annotated[_Int, Field(description="-1: off.")] = DEFAULT_POLICY.tmp_locking_threshold
    tmpLockingDuration: Annotated[_Int, Field(description="Milliseconds.")] = (
        DEFAULT_POLICY.tmp_locking_duration
    )
    reusable: Annotated[bool, Field(strict=True)] = DEFAULT_POLICY.reusable
    sendingMethod: Annotated[
        list[SendingMethod], Field(description="In order; the next method is tried if one fails.")
    ] = [*DEFAULT_POLICY.sending_method]  # noqa: RUF012 - pydantic copies it
    closeToExpirationThreshold: Annotated[_Int, Field(description="Days; -1: off.")] = (
        DEFAULT_POLICY.close_to_expiration_threshold
    )

    def policy(self) -> TicketPolicy:
        """Return the parameters as the domain has them, unchecked."""
        return TicketPolicy(
            ticket_length=self.ticketLength,
            ticket_character_set=self.ticketCharacterSet,
            hash_algorithm=self.hashAlgorithm,
            credential_lifetime=self.credentialLifetime,
            max_cred_failure_count=self.maxCredFailureCount,
            tmp_locking_threshold=self.tmpLockingThreshold,
            tmp_locking_duration=self.tmpLockingDuration,
            reusable=self.reusable,
            sending_method=tuple(self.sendingMethod),
            close_to_expiration_threshold=self.closeToExpirationThreshold,
        )


class PolicyBody(StrictBody):
    """A complete policy."""

    parameters: ParametersBody = ParametersBody()
    defaultPolicy: Annotated[bool, Field(strict=True)] = False
    modificationComment: Comment | None = None
