"""The response schema of a ticket policy."""

from typing import Annotated

from pydantic import BaseModel, Field

from application.shared.wire import Count, UtcDate, utc_date
from domain.policies.policy import SendingMethod
from domain.policies.policy_definition import PolicyState


class PolicyParameters(BaseModel):
    """The parameters, under the contract's names."""

    ticketLength: int
    ticketCharacterSet: str
    hashAlgorithm: str
    credentialLifetime: Annotated[int, Field(description="Milliseconds.")]
    maxCredFailureCount: int
    tmpLockingThreshold: int
    tmpLockingDuration: Annotated[int, Field(description="Milliseconds.")]
    reusable: bool
    sendingMethod: list[SendingMethod]
    closeToExpirationThreshold: Annotated[int, Field(description="Days.")]


class PolicyResponse(BaseModel):
    """A ticket policy."""

    created: UtcDate | None
    lastModified: UtcDate | None
    version: Count
    extId: str
    policyType: str
    defaultPolicy: bool
    modificationComment: str | None
    parameters: PolicyParameters


class PolicyList(BaseModel):
    """Every policy of a client."""

    items: list[PolicyResponse]


def to_response(state: PolicyState) -> PolicyResponse:
    """Return the response for a policy."""
    policy = state.policy
    return PolicyResponse(
        created=utc_date(state.created),
        lastModified=utc_date(state.last_modified),
        version=state.version,
        extId=state.policy_ext_id,
        policyType="TicketPolicy",
        defaultPolicy=state.is_default,
        modificationComment=state.modification_comment,
        parameters=PolicyParameters(
            ticketLength=policy.ticket_length,
            ticketCharacterSet=policy.ticket_character_set,
            hashAlgorithm=policy.hash_algorithm,
            credentialLifetime=policy.credential_lifetime,
            maxCredFailureCount=policy.max_cred_failure_count,
            tmpLockingThreshold=policy.tmp_locking_threshold,
            tmpLockingDuration=policy.tmp_locking_duration,
            reusable=policy.reusable,
            sendingMethod=list(policy.sending_method),
            closeToExpirationThreshold=policy.close_to_expiration_threshold,
        ),
    )
