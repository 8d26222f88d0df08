"""The response schema of a user."""

from typing import Annotated

from pydantic import BaseModel, Field

from application.shared.wire import Count, UtcDate, utc_date
from domain.users.recipient import Recipient


class UserResponse(BaseModel):
    """A user to whom tickets are delivered."""

    created: UtcDate | None
    lastModified: UtcDate | None
    version: Count
    extId: Annotated[str, Field(description="The external ID of the user.")]
    email: Annotated[str | None, Field(description="null: tickets do not go there by mail.")]
    name: str | None
    language: Annotated[str | None, Field(description="Language of what is sent to the user (BCP 47).")]
    postalAddress: Annotated[
        list[str] | None, Field(description="The lines below the name; null: no letter goes there.")
    ]


def to_response(recipient: Recipient) -> UserResponse:
    """Return the response for a user."""
    return UserResponse(
        created=utc_date(recipient.created),
        lastModified=utc_date(recipient.last_modified),
        version=recipient.version,
        extId=recipient.user_ext_id,
        email=recipient.email,
        name=recipient.name,
        language=recipient.language,
        postalAddress=list(recipient.postal_address) if recipient.postal_address else None,
    )
