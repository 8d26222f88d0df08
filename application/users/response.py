"""The response schema of a user."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, create_model

from application.shared.wire import Count, UtcDate, camel_case_fields, to_camel_case, utc_date
from domain.users.recipient import Contact, Recipient


class _Versioned(BaseModel):
    created: UtcDate | None
    lastModified: UtcDate | None
    version: Count
    extId: Annotated[str, Field(description="The external ID of the user.")]


_User: Any = create_model("_User", __base__=_Versioned, **camel_case_fields(Contact, required=True))


class UserResponse(_User):
    """A user to whom tickets are delivered."""


def to_response(recipient: Recipient) -> UserResponse:
    """Return the response for a user."""
    return UserResponse(
        created=utc_date(recipient.created),
        lastModified=utc_date(recipient.last_modified),
        version=recipient.version,
        extId=recipient.user_ext_id,
        **to_camel_case(recipient.contact),
    )
