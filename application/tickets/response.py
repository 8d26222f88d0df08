"""The response schema of a ticket credential (docs/http-contract.md).

A typed dict is cheaper to build than a pydantic model; pydantic documents it, msgspec encodes it.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from application.shared.wire import Count, UtcDate, utc_date
from domain.tickets.state import TicketState
from domain.tickets.states import State

CredentialType = Literal[
    "Password",
    "Certificate",
    "SecurID User Mapping",
    "Ticket Authorization",
    "Safeword User Mapping",
    "OTP Card",
    "Temporary Strong Password",
    "Generic Credential",
    "Kerberos",
    "mTan",
    "Vasco",
    "PUK",
    "URL Ticket",
    "DevicePassword",
    "MobileSignature",
    "SAML Federation",
    "Security Questions",
    "Context Password",
    "OATH",
    "FIDO UAF Authenticator",
    "Recovery Code",
    "FIDO2 Authenticator",
]


ValidityResponse = TypedDict(
    "ValidityResponse",
    {
        "from": Annotated[UtcDate | None, Field(description="Start of the validity.")],
        "to": Annotated[UtcDate | None, Field(description="End of the validity.")],
    },
)
ValidityResponse.__doc__ = "The validity period of the ticket, in UTC."


class TicketResponse(TypedDict):
    """A ticket credential. A field without a value is null, never absent."""

    created: Annotated[UtcDate | None, Field(description="Creation date of the credential.")]
    lastModified: Annotated[UtcDate | None, Field(description="Date when the credential was last modified.")]
    version: Annotated[Count, Field(description="Version used for optimistic locking; also the ETag.")]
    extId: Annotated[str, Field(description="The external ID of the credential.")]
    userExtId: Annotated[
        str, Field(description="The external ID of the user to whom the credential belongs.")
    ]
    policyExtId: Annotated[str, Field(description="The external ID of the used policy.")]
    stateName: Annotated[State, Field(description="The state of the credential.")]
    stateChangeReason: Annotated[str | None, Field(description="Reason for the last state change.")]
    stateChangeDetail: Annotated[str | None, Field(description="Reason detail for the last state change.")]
    lastSuccessfulLoginDate: Annotated[
        UtcDate | None, Field(description="Timestamp of the last successful login.")
    ]
    successfulLoginCount: Annotated[
        Count, Field(description="Successful logins since the last initialization or reset.")
    ]
    lastFailedLoginDate: Annotated[UtcDate | None, Field(description="Date of the last wrong ticket.")]
    failedLoginCount: Annotated[
        Count, Field(description="Wrong tickets since the last successful login, initialization or reset.")
    ]
    modificationComment: Annotated[
        str | None, Field(description="Textual comment regarding the last modification.")
    ]
    type: Annotated[CredentialType, Field(description="Type of credential.")]
    validity: ValidityResponse
    ticket: Annotated[str, Field(description="Hashed ticket value with message digest algorithm prefix.")]
    failureCount: Annotated[Count, Field(description="Number of times the ticket was used incorrectly.")]
    successCount: Annotated[
        Count, Field(description="Number of times the ticket has been verified successfully.")
    ]
    resetCount: Annotated[Count, Field(description="Number of times the credential was regenerated.")]


def to_response(state: TicketState, now: datetime) -> TicketResponse:
    """Return the response for the state at a given time."""
    state = state.at(now)
    return {
        "created": utc_date(state.created),
        "lastModified": utc_date(state.last_modified),
        "version": state.version,
        "extId": state.ext_id,
        "userExtId": state.user_ext_id,
        "policyExtId": state.policy_ext_id,
        "stateName": state.state_name,
        "stateChangeReason": state.state_change_reason,
        "stateChangeDetail": state.state_change_detail,
        "lastSuccessfulLoginDate": utc_date(state.last_successful_login_date),
        "successfulLoginCount": state.successful_login_count,
        "lastFailedLoginDate": utc_date(state.last_failed_login_date),
        "failedLoginCount": state.failed_login_count,
        "modificationComment": state.modification_comment,
        "type": "Ticket Authorization",
        "validity": {"from": utc_date(state.valid_from), "to": utc_date(state.valid_to)},
        "ticket": state.ticket_hash,
        "failureCount": state.failure_count,
        "successCount": state.success_count,
        "resetCount": state.reset_count,
    }
