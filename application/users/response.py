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
    email: Annotated[str | None, Field(description="The mail address; null: unknown.")]
    name: str | None
    language: Annotated[str | None, Field(description="Preferred language of messages (BCP 47).")]
    postalAddress: Annotated[
        list[str] | None, Field(description="The address lines below the name; null: unknown.")
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
