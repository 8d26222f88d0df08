"""The response schema of a ticket credential: the seed's, field for field.

A typed dict, since it is built for every reset and every read: pydantic documents it, msgspec writes it.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from domain.tickets.states import State

UtcDate = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-23T09:42:00Z"])]
Count = Annotated[int, Field(ge=0, le=2**31 - 1, json_schema_extra={"format": "int32"})]

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


def to_json(response: BaseModel | Mapping[str, Any]) -> str:
    """Return a response as JSON text, without blanks."""
    if isinstance(response, BaseModel):
        return response.model_dump_json(by_alias=True)
    return msgspec.json.encode(response).decode()
