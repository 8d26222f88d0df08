"""The response schema of a ticket policy."""

from typing import Any

from pydantic import BaseModel, create_model

from application.shared.wire import Count, UtcDate, camel_case_fields, to_camel_case, utc_date
from domain.policies.policy import TicketPolicy
from domain.policies.policy_definition import PolicyState

_Parameters: Any = create_model("_Parameters", **camel_case_fields(TicketPolicy, required=True))


class PolicyParameters(_Parameters):
    """The parameters, under the contract's names."""


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
    return PolicyResponse(
        created=utc_date(state.created),
        lastModified=utc_date(state.last_modified),
        version=state.version,
        extId=state.policy_ext_id,
        policyType="TicketPolicy",
        defaultPolicy=state.is_default,
        modificationComment=state.modification_comment,
        parameters=PolicyParameters(**to_camel_case(state.policy)),
    )
