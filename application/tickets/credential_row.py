"""A row of an import: a credential of another system, in the fields of the HTTP response."""

import hashlib
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from application.shared.fields import Comment, Date, ExtId, integral, mismatch
from domain.tickets.states import State
from domain.tickets.stored_hash import MAX_HASH_LENGTH, with_prepended_salt

_encode = msgspec.json.Encoder(order="sorted").encode
Count = Annotated[int, Field(ge=0, le=2**31 - 1, strict=True), BeforeValidator(integral)]
_Reason = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9-]{1,50}$"), mismatch("must be a code such as changed-by-admin")
]


TicketHash = Annotated[
    str,
    StringConstraints(max_length=MAX_HASH_LENGTH),
    Field(description="The hash with its algorithm prefix: `{SSHA256}`, `{SSHA}` or `{ARGON2ID}`."),
]


class RowValidity(BaseModel):
    """The validity of an imported ticket; the policy supplies a missing end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    from_: Annotated[Date | None, Field(alias="from")] = None
    to: Date | None = None


class CredentialRow(BaseModel):
    """A credential of another system. `lastModified`, `stateChangeDetail` and `type` are accepted and not imported."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    extId: ExtId
    userExtId: ExtId
    policyExtId: ExtId | None = None
    stateName: State
    stateChangeReason: _Reason | None = None
    ticket: TicketHash
    validity: RowValidity = RowValidity()
    created: Date | None = None
    version: Count | None = None
    lastSuccessfulLoginDate: Date | None = None
    successfulLoginCount: Count = 0
    lastFailedLoginDate: Date | None = None
    failedLoginCount: Count = 0
    failureCount: Count = 0
    successCount: Count = 0
    resetCount: Count = 0
    lockedUntil: Date | None = None
    modificationComment: Comment | None = None
    lastModified: Date | None = None
    stateChangeDetail: Annotated[str, StringConstraints(max_length=1000)] | None = None
    type: Literal["Ticket Authorization"] | None = None

    def stored_hash(self, *, salt_first: bool) -> str:
        """Return the hash in its stored form. salt_first: the salt of a fast hash stands before the ticket."""
        return with_prepended_salt(self.ticket) if salt_first else self.ticket

    def digest(self, source: str, *, salt_first: bool) -> str:
        """Return the hex SHA-256 of the source and the imported fields that have a value, except the comment, which can be erased."""
        content = {
            name: value for name, value in self.__dict__.items() if name in _DIGESTED and value is not None
        }
        content |= {"source": source, "saltFirst": salt_first}
        content |= {"validity": [self.validity.from_, self.validity.to]}
        return hashlib.sha256(_encode(content)).hexdigest()


_NOT_IMPORTED = {"lastModified", "stateChangeDetail", "type"}
_DIGESTED = CredentialRow.model_fields.keys() - _NOT_IMPORTED - {"modificationComment", "validity"}
