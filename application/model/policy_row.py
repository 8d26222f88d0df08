"""The read model of a policy."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from application.model.projection import utc_date
from application.model.ticket_response import Count, UtcDate
from domain.policies.policy import PolicyDefinition, SendingMethod, TicketPolicy
from domain.shared.event import Event


@dataclass(frozen=True, kw_only=True)
class PolicyRow:
    """A policy of a client as it stands after the event of that version."""

    client_ext_id: str
    policy_ext_id: str
    version: int
    created: datetime
    last_modified: datetime
    modification_comment: str | None
    is_default: bool
    policy: TicketPolicy


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


def fold_policy(row: PolicyRow | None, events: Iterable[Event]) -> PolicyRow | None:
    """Return the row after the events of a policy."""
    for event in events:
        if isinstance(event, PolicyDefinition.PolicyDefined):
            row = PolicyRow(
                client_ext_id=event.client_ext_id,
                policy_ext_id=event.policy_ext_id,
                version=event.originator_version,
                created=row.created if row else event.timestamp,
                last_modified=event.timestamp,
                modification_comment=event.reason,
                is_default=event.is_default,
                policy=event.parameters,
            )
        elif row and isinstance(event, PolicyDefinition.PolicyDefaultWithdrawn):
            row = replace(
                row, version=event.originator_version, last_modified=event.timestamp, is_default=False
            )
    return row


def restore_policy(row: PolicyRow) -> PolicyDefinition:
    """Return the aggregate as it stands after the events that made the row."""
    return PolicyDefinition.restore(
        client_ext_id=row.client_ext_id,
        policy_ext_id=row.policy_ext_id,
        version=row.version,
        policy=row.policy,
        is_default=row.is_default,
        timestamp=row.last_modified,
    )


def to_response(row: PolicyRow) -> PolicyResponse:
    """Return the policy as the policy operations show it."""
    policy = row.policy
    return PolicyResponse(
        created=utc_date(row.created),
        lastModified=utc_date(row.last_modified),
        version=row.version,
        extId=row.policy_ext_id,
        policyType="TicketPolicy",
        defaultPolicy=row.is_default,
        modificationComment=row.modification_comment,
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
