"""A user as the service knows one: where the ticket goes. Personal data, kept out of every event."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from application.model.projection import utc_date
from application.model.ticket_response import Count, UtcDate
from application.transaction.command import Subject


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """An ordinary, erasable row (design, decision 9); `version` rises with each change."""

    client_ext_id: str
    user_ext_id: str
    email: str | None
    name: str | None
    language: str | None
    postal_address: tuple[str, ...] | None = None
    created: datetime
    last_modified: datetime
    version: int

    @property
    def subject(self) -> Subject:
        """The user's ids."""
        return Subject(self.client_ext_id, self.user_ext_id)


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
    """Return the recipient as the users operations show it."""
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
